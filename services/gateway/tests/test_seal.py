"""A consistency token is good for the client that was given it, and for nobody else; nobody can make one."""

import json
import time
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lxml import etree

from cv_contracts.faults import Fault, FieldError
from cv_contracts.methods import METHODS
from cv_gateway.forwarding import Header
from cv_gateway.seal import HEADER, LONG_APPLIED, TokenSeal
from cv_gateway.soap.tables import NAMESPACE
from cv_gateway.soap.testing import Generator, call_envelope, caller_blocks
from cv_gateway.testing import Provider, call_headers
from servicekit.data.consistency import LONGEST_HEADER, ConsistencyToken
from servicekit.web.upstream_testing import ScriptedOwner, plain

JOBNET = {"x_activeorganisation_type": "101", "x_activeorganisation_code": "1"}
STREAM = "cv-registry.cv-changed"
KEY = Ed25519PrivateKey.generate()
NOW = 1_800_000_000.0
OLD = NOW - LONG_APPLIED.total_seconds() - 1
NOT_GIVEN = "is not a token that this client was given; leave it out"
NOT_OURS = "is not a token of this system"


def naming(at: float, subject: int = 7) -> bytes:
    """Make the token of a write at that time, as an owner does and as everybody could."""
    return ConsistencyToken({(STREAM, UUID(int=subject)): int(at * 1_000_000)}).encode().encode()


def sealing(key: Ed25519PrivateKey = KEY, now: float = NOW) -> TokenSeal:
    return TokenSeal(key, lambda: now)


def given(token: bytes, client: str = "one", key: Ed25519PrivateKey = KEY) -> bytes:
    [(_, value)] = sealing(key).sealed([(HEADER, token)], client)
    return value


def taken(*lines: bytes, client: str = "one", now: float = NOW) -> list[Header]:
    return sealing(now=now).opened([(HEADER, line) for line in lines], client)


def refusal(*lines: bytes, client: str = "one") -> str:
    with pytest.raises(Fault) as refused:
        taken(*lines, client=client)
    assert refused.value.code == 1014
    [error] = refused.value.errors
    assert error == FieldError("x-consistency-token", error.reason)
    return error.reason


def test_a_token_comes_back_to_the_owner_as_it_was_from_any_process_with_the_same_key() -> None:
    token = naming(NOW)
    sealed = given(token)
    assert sealed.startswith(token)
    assert sealed != token
    assert not set(sealed) & set(b" ,=\r\n")
    assert taken(sealed) == [(HEADER, token)]


def test_only_the_token_of_an_answer_is_sealed_and_only_that_of_a_request_opened() -> None:
    others = [(b"etag", b'"7"'), (b"content-type", b"application/json")]
    sealed = sealing().sealed([*others, (HEADER, naming(NOW))], "one")
    assert [header for header in sealed if header[0] != HEADER] == others
    assert sealing().opened(others, "one") == others
    assert sealing().opened([*others, sealed[-1]], "one") == [*others, (HEADER, naming(NOW))]


def test_tokens_of_several_answers_are_taken_in_one_line_or_in_several() -> None:
    tokens = [naming(NOW, subject) for subject in range(3)]
    one, two, three = map(given, tokens)
    expected = [(HEADER, b", ".join(tokens))]
    assert taken(one + b"," + two + b" ,\t" + three) == taken(one, two + b", " + three) == expected


@pytest.mark.parametrize("at", [NOW, NOW - 60, NOW + 3600, OLD + 2, 2**62 / 1_000_000], ids=str)
def test_a_token_that_was_made_up_is_refused_whatever_it_says_of_now_or_later(at: float) -> None:
    for made_up in (naming(at), naming(at) + b".", naming(at) + b"." + b"A" * 22):
        assert refusal(made_up) == NOT_GIVEN
        assert refusal(given(naming(NOW)) + b"," + made_up) == NOT_GIVEN


def test_a_token_of_another_client_is_refused() -> None:
    assert refusal(given(naming(NOW), "one"), client="two") == NOT_GIVEN
    assert refusal(given(naming(NOW), "one"), client="on") == NOT_GIVEN
    assert taken(given(naming(NOW), "\ud800"), client="\ud800") == [(HEADER, naming(NOW))]


@pytest.mark.parametrize("place", [0, 10, -24, -23, -22, -1])
def test_a_token_that_came_to_harm_is_refused(place: int) -> None:
    sealed = bytearray(given(naming(NOW)))
    sealed[place] ^= 1
    assert refusal(bytes(sealed)) in (NOT_GIVEN, NOT_OURS)


def test_the_mac_of_one_token_is_none_for_another() -> None:
    mac = given(naming(NOW)).partition(b".")[2]
    assert refusal(naming(NOW, 8) + b"." + mac) == NOT_GIVEN


@pytest.mark.parametrize("text", [b"x", b".", b"\xe6", b"a.b.c", b",", b"nonsense"])
def test_what_is_no_token_at_all_is_refused(text: bytes) -> None:
    good = given(naming(NOW))
    for lines in ([text], [good + b"," + text], [text, good]):
        assert refusal(*lines) in (NOT_GIVEN, NOT_OURS)


def test_without_a_token_nothing_is_waited_for() -> None:
    assert taken(b"") == taken(b"  ") == taken() == []


def test_a_header_is_no_longer_than_owners_take_and_that_is_enough_for_all_that_they_take() -> None:
    full = b",".join(given(naming(NOW, subject)) for subject in range(64))
    assert len(taken(full)) == 1
    assert taken(given(naming(NOW)).ljust(LONGEST_HEADER)) == [(HEADER, naming(NOW))]
    assert refusal(given(naming(NOW)).ljust(LONGEST_HEADER + 1)) == "is too long"


def test_a_token_from_before_the_key_was_changed_is_refused_while_it_is_new_and_then_needed_no_more() -> None:
    other = Ed25519PrivateKey.generate()
    sealed = given(naming(NOW), key=other)
    assert refusal(sealed) == NOT_GIVEN
    later = NOW + LONG_APPLIED.total_seconds() + 1
    assert taken(sealed, now=later) == []
    assert taken(given(naming(later)), sealed, now=later) == [(HEADER, naming(later))]
    assert taken(given(naming(OLD))) == [(HEADER, naming(OLD))]


def test_an_old_token_is_left_out_only_if_all_that_it_names_is_old() -> None:
    versions = {(STREAM, UUID(int=n)): int(at * 1_000_000) for n, at in enumerate((OLD, NOW))}
    assert refusal(ConsistencyToken(versions).encode().encode()) == NOT_GIVEN
    assert refusal(ConsistencyToken().encode().encode()) == NOT_GIVEN


@pytest.mark.slow
async def test_what_is_given_over_rest_is_taken_over_rest_and_by_soap_from_nobody_else(
    start: Any, provider: Provider, registry: ScriptedOwner
) -> None:
    token, soap_token = naming(time.time()).decode(), naming(time.time(), 8).decode()
    method = next(one for one in METHODS if one.name == "ReplaceCV")
    receipt = json.dumps(Generator(1).answer(method)).encode()

    def bearer(caller: str) -> str:
        return provider.token(client_id=caller, organisation={"type": 101, "code": "1"})

    async with start() as (_, client):

        async def by_rest(caller: str, sent: str | None = None) -> httpx.Response:
            headers = call_headers(bearer(caller), **JOBNET, x_consistency_token=sent)
            answer: httpx.Response = await client.get("/v6/Cv", headers=headers)
            return answer

        async def by_soap(caller: str, **blocks: str) -> httpx.Response:
            content = call_envelope(
                method, Generator(1).request(method), {**caller_blocks(101, "1"), **blocks}
            )
            headers = {"authorization": f"Bearer {bearer(caller)}", "content-type": "text/xml"}
            answer: httpx.Response = await client.post("/soap/v6", content=content, headers=headers)
            return answer

        registry.answering = plain(receipt, "200 OK", f"x-consistency-token: {token}")
        given = (await by_rest("one")).headers["x-consistency-token"]
        registry.answering = plain(receipt, "200 OK", f"x-consistency-token: {soap_token}")
        written = await by_soap("one")
        given_by_soap = etree.fromstring(written.content).findtext(
            f".//{{{NAMESPACE}}}ConsistencyTokenHeader"
        )
        assert given_by_soap == written.headers["x-consistency-token"]
        both = f"{given}, {given_by_soap}"
        registry.received.clear()
        assert (await by_rest("one", both)).status_code == 200
        assert (await by_soap("one", ConsistencyTokenHeader=both.replace(", ", ",\n  "))).status_code == 200
        assert [asked.header("x-consistency-token") for asked in registry.received] == [
            f"{token}, {soap_token}"
        ] * 2
        registry.received.clear()
        for caller, sent in (("two", given), ("one", token), ("one", given[:-1]), ("one", given[1:])):
            answer = await by_rest(caller, sent)
            assert (answer.status_code, answer.json()["code"]) == (400, 1014)
            assert answer.json()["errors"][0]["element"] == "x-consistency-token"
            assert b">1014<" in (await by_soap(caller, ConsistencyTokenHeader=sent)).content
        assert registry.received == []
