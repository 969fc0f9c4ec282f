"""Which bearer tokens are accepted: those of the one issuer, for us, signed now by a published key, and no other."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cv_contracts.faults import Fault
from cv_gateway.jwks import MOST_WAITING, KeySource, KeysUnavailable, KeyTimes
from cv_gateway.testing import AUDIENCE, ISSUER, Provider, call_headers, good_claims
from cv_gateway.token import MOST_ORGANISATIONS, SMALL_TOKEN, TokenRules, TokenVerifier
from servicekit.caller import Organisation
from servicekit.testing import eventually, is_now
from servicekit.web.upstream_testing import ScriptedOwner, cut, hang, plain, raw

pytestmark = pytest.mark.slow

OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - must be refused


class Clock:
    """Seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(provider: Provider, clock: Clock) -> AsyncIterator[KeySource]:
    source = KeySource(provider.jwks_url, KeyTimes(max_age=300, min_interval=5, timeout=30), clock=clock)
    yield source
    await source.close()


@pytest.fixture
def verifier(keys: KeySource) -> TokenVerifier:
    return TokenVerifier(TokenRules(ISSUER, AUDIENCE), keys)


def bearer(token: str | bytes) -> bytes:
    return b"Bearer " + (token.encode() if isinstance(token, str) else token)


async def refused(verifier: TokenVerifier, authorization: bytes) -> bool:
    """Tell whether the token is refused, and check that every refusal looks the same."""
    fault = next(iter(await asyncio.gather(verifier.verify(authorization), return_exceptions=True)))
    if not isinstance(fault, BaseException):
        return False
    assert isinstance(fault, Fault)
    assert (fault.code, fault.status) == (1012, 401)
    assert fault.headers()["www-authenticate"].startswith("Bearer")
    return True


@pytest.mark.parametrize("key_id", ["rsa", "ec"])
async def test_a_good_token_says_who_the_client_is(
    verifier: TokenVerifier, provider: Provider, key_id: str
) -> None:
    claims = {
        "scope": "cv.read  cv.write",
        "organisation": {"type": 4, "code": "12345678"},
        "may_act_as": [{"type": 8, "code": "10100"}],
    }
    token = await verifier.verify(bearer(provider.token(key_id, **claims)))
    assert token.client == "client-1"
    assert token.scopes == {"cv.read", "cv.write"}
    assert token.own == Organisation(4, "12345678")
    assert token.may_act_as == {Organisation(4, "12345678"), Organisation(8, "10100")}


async def test_an_audience_list_that_names_us_and_no_may_act_as_are_fine(
    verifier: TokenVerifier, provider: Provider
) -> None:
    token = await verifier.verify(b"bearer " + provider.token(aud=["x", AUDIENCE], may_act_as=None).encode())
    assert token.may_act_as == {Organisation(8, "10100")}


@pytest.mark.parametrize("scope", [None, "", " "])
async def test_a_token_without_a_scope_is_good_and_grants_nothing(
    verifier: TokenVerifier, provider: Provider, scope: str | None
) -> None:
    assert (await verifier.verify(bearer(provider.token(scope=scope)))).scopes == frozenset()


async def test_who_acts_for_as_many_organisations_as_may_be_named_is_admitted(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    acting = [{"type": 101, "code": f"{n:020}"} for n in range(MOST_ORGANISATIONS - 1)]
    token = provider.token(may_act_as=[*acting, {"type": 8, "code": "15100"}])
    headers = call_headers(token, x_activeorganisation_code="15100")
    for _ in range(2):
        assert (await client.get("/v6/Cv", headers=headers)).status_code == 200


NOW = int(time.time())
BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.test"},
    "an issuer that ours begins": {"iss": ISSUER + "/x"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "other"},
    "no audience": {"aud": None},
    "expired": {"exp": NOW - 60},
    "no expiry": {"exp": None},
    "an expiry that is no number": {"exp": "soon"},
    "an expiry that is true": {"exp": True},
    "an expiry beyond all numbers": {"exp": float("inf")},
    "an expiry that is not a number": {"exp": float("nan")},
    "not valid yet": {"nbf": NOW + 86_400},
    "issued in the future": {"iat": NOW + 86_400},
    "no time of issue": {"iat": None},
    "a scope that is a number": {"scope": 1},
    "a scope too long": {"scope": "x" * 8193},
    "a scope that is a list": {"scope": ["cv.read"]},
    "no client": {"client_id": None},
    "an empty client": {"client_id": ""},
    "a client that is a number": {"client_id": 7},
    "no organisation": {"organisation": None},
    "an organisation that is text": {"organisation": "8:10100"},
    "a type that is text": {"organisation": {"type": "8", "code": "10100"}},
    "a type that is true": {"organisation": {"type": True, "code": "10100"}},
    "a code that is a number": {"organisation": {"type": 8, "code": 10100}},
    "a code too long": {"organisation": {"type": 8, "code": "1" * 21}},
    "a type beyond all numbers": {"organisation": {"type": float("inf"), "code": "10100"}},
    "a may_act_as that is no list": {"may_act_as": {"type": 8, "code": "10100"}},
    "a may_act_as with rubbish in it": {"may_act_as": [{"type": 8, "code": "10100"}, None]},
    "a may_act_as that is too long": {
        "may_act_as": [{"type": 8, "code": "10100"}] * (MOST_ORGANISATIONS + 1)
    },
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
async def test_a_signed_token_is_refused_for(verifier: TokenVerifier, provider: Provider, case: str) -> None:
    assert await refused(verifier, bearer(provider.token(**BAD_CLAIMS[case])))


def part(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def assembled(header: Any, signature: str = "") -> str:
    return f"{part(header)}.{part(good_claims())}.{signature}"


def forged(provider: Provider) -> dict[str, str]:
    """Tokens that no key of the provider's has signed, or not in the way the key is for."""
    good = provider.token()
    pem = (
        provider.keys["rsa"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    head, claims, signature = good.split(".")
    hs256 = jwt.api_jws.PyJWS()
    hmac = hs256.get_algorithm_by_name("HS256")
    signing_input = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(good_claims())}".encode()
    mac = base64.urlsafe_b64encode(hmac.sign(signing_input, pem)).decode().rstrip("=")
    other = {"kid": "rsa"}
    return {
        "none": assembled({"alg": "none", "kid": "rsa"}),
        "None": assembled({"alg": "None", "kid": "rsa"}, signature),
        "the public key as an HMAC secret": signing_input.decode() + "." + mac,
        "another key": jwt.encode(good_claims(), OTHER_RSA, algorithm="RS256", headers=other),
        "another algorithm of the same key": jwt.encode(
            good_claims(), provider.keys["rsa"], algorithm="PS256", headers=other
        ),
        "a longer hash": jwt.encode(good_claims(), provider.keys["rsa"], algorithm="RS512", headers=other),
        "the other key's id": jwt.encode(
            good_claims(), provider.keys["ec"], algorithm="ES256", headers=other
        ),
        "no kid": jwt.encode(good_claims(), provider.keys["rsa"], algorithm="RS256"),
        "a kid that is a number": assembled({"alg": "RS256", "kid": 1}, signature),
        "an unknown kid": jwt.encode(good_claims(), OTHER_RSA, algorithm="RS256", headers={"kid": "new"}),
        "a key of its own": jwt.encode(
            good_claims(),
            OTHER_RSA,
            algorithm="RS256",
            headers={
                "kid": "x",
                "jwk": jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True),
            },
        ),
        "a critical extension": assembled({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}, signature),
        "zeros as a signature": assembled({"alg": "ES256", "kid": "ec"}, "A" * 86),
        "keys to be fetched elsewhere": jwt.encode(
            good_claims(),
            OTHER_RSA,
            algorithm="RS256",
            headers={"kid": "rsa", "jku": provider.jwks_url, "x5u": provider.jwks_url},
        ),
        "encrypted": ".".join((part({"alg": "dir", "enc": "A128GCM", "kid": "rsa"}), "", "AA", "AA", "AA")),
        "changed claims": f"{head}.{part(good_claims(client_id='other'))}.{signature}",
        "no signature": f"{head}.{claims}.",
        "two parts": f"{head}.{claims}",
        "four parts": f"{good}.x",
        "a header nested too deeply": f"{part('[' * 5000)}.{claims}.{signature}",
        "a header that is a list": assembled([1], signature),
        "a header that is no text": f"{base64.urlsafe_b64encode(bytes(range(256))).decode()}.{claims}.{signature}",
        "white space": good + " ",
        "not base64": "!.?.*",
        "nothing": "",
        "a huge token": good + "A" * 20_000,
    }


async def test_forged_tokens_are_refused(verifier: TokenVerifier, provider: Provider) -> None:
    accepted = [
        case for case, token in forged(provider).items() if not await refused(verifier, bearer(token))
    ]
    assert accepted == []


async def test_the_token_is_asked_for_as_bearer_and_nothing_else(
    verifier: TokenVerifier, provider: Provider
) -> None:
    token = provider.token().encode()
    for authorization in (
        b"",
        token,
        b"Basic " + token,
        b"Bearer" + token,
        b"Bearer  " + token,
        b"Bearer \xff\xfe",
    ):
        assert await refused(verifier, authorization)


async def test_keys_that_are_too_weak_or_not_for_signing_are_not_used(
    verifier: TokenVerifier, provider: Provider
) -> None:
    provider.add_key("weak", WEAK_RSA)
    provider.add_key("encryption", OTHER_RSA)
    provider.published[-1]["use"] = "enc"
    provider.add_key("wide", ec.generate_private_key(ec.SECP384R1()))
    provider.published.append(
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}
    )
    shared = jwt.encode(good_claims(), b"secret" * 6, algorithm="HS256", headers={"kid": "shared"})
    assert await refused(verifier, bearer(shared))
    assert await refused(verifier, bearer(provider.token("encryption")))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = provider.token("weak")
    assert await refused(verifier, bearer(weak))


async def test_a_new_key_is_fetched_when_a_token_names_it(
    verifier: TokenVerifier, provider: Provider, clock: Clock
) -> None:
    await verifier.verify(bearer(provider.token()))
    provider.add_key("new", OTHER_RSA)
    clock.now += 6
    assert not await refused(verifier, bearer(provider.token("new")))
    assert provider.asked == 2


async def test_a_withdrawn_key_ends_the_tokens_it_signed_also_the_remembered_ones(
    verifier: TokenVerifier, provider: Provider, clock: Clock, keys: KeySource
) -> None:
    token = bearer(provider.token("ec"))
    assert not await refused(verifier, token)
    provider.withdraw_key("ec")
    clock.now += 6
    await keys.refresh()
    assert await refused(verifier, token)


async def test_a_storm_of_unknown_key_ids_asks_the_provider_once(
    verifier: TokenVerifier, provider: Provider
) -> None:
    await verifier.verify(bearer(provider.token()))
    storm = [
        jwt.encode(good_claims(), OTHER_RSA, algorithm="RS256", headers={"kid": f"k{n}"}) for n in range(50)
    ]
    assert all(await asyncio.gather(*(refused(verifier, bearer(token)) for token in storm)))
    assert provider.asked == 1


async def test_known_keys_are_used_on_while_the_provider_is_down(
    verifier: TokenVerifier, provider: Provider, clock: Clock
) -> None:
    await verifier.verify(bearer(provider.token()))
    for broken in (cut, hang, raw(b"rubbish\r\n\r\n"), plain(b"{}"), plain(b"[]"), plain(b"x", "500 No")):
        provider.owner.answering = broken
        clock.now += 400
        assert not await refused(verifier, bearer(provider.token("ec", client_id=str(clock.now))))
    await provider.owner.stop()
    clock.now += 400
    assert not await refused(verifier, bearer(provider.token(client_id="again")))


async def test_a_hanging_provider_does_not_hold_up_tokens_of_known_keys(
    verifier: TokenVerifier, provider: Provider, clock: Clock
) -> None:
    await verifier.verify(bearer(provider.token()))
    provider.owner.answering = hang
    clock.now += 400
    async with asyncio.timeout(20):
        await verifier.verify(bearer(provider.token(client_id="other")))


async def test_whoever_names_unknown_keys_while_the_provider_hangs_leaves_room_for_others(
    provider: Provider, start: Callable[..., Any]
) -> None:
    storm = [
        jwt.encode(good_claims(), OTHER_RSA, algorithm="RS256", headers={"kid": f"k{n}"})
        for n in range(2 * MOST_WAITING)
    ]
    times = {"issuer": ISSUER, "jwks_url": provider.jwks_url, "keys_min_interval": timedelta(0)}
    async with start(token=times, limits={"in_flight": MOST_WAITING + 1}) as (_, client):
        good = call_headers(provider.token())
        assert (await client.get("/v6/Cv", headers=good)).status_code == 200
        provider.owner.answering = hang
        calls = [asyncio.create_task(client.get("/v6/Cv", headers=call_headers(one))) for one in storm]
        await eventually(lambda: is_now(sum(call.done() for call in calls), MOST_WAITING))
        assert (await client.get("/v6/Cv", headers=good)).status_code == 200
        await provider.owner.stop()
        assert {(await call).status_code for call in calls} == {401, 503}


async def test_without_any_key_no_token_is_called_bad(
    provider: Provider, registry: ScriptedOwner, start: Callable[..., Any]
) -> None:
    provider.owner.answering = plain(b"later", "503 Later")
    async with start() as (_, client):
        answer = await client.get("/v6/Cv", headers=call_headers(provider.token()))
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        ready: httpx.Response = await client.get("/health/ready")
        assert ready.status_code == 503
        assert (await client.get("/health/live")).status_code == 200


async def test_an_unloaded_key_source_says_so(provider: Provider, keys: KeySource) -> None:
    await provider.owner.stop()
    with pytest.raises(KeysUnavailable):
        await keys.find("rsa")


async def test_a_token_is_remembered_until_it_expires_and_not_longer(
    keys: KeySource, provider: Provider, clock: Clock
) -> None:
    clock.now = time.time()
    verifier = TokenVerifier(TokenRules(ISSUER, AUDIENCE), keys, clock=clock)
    token = bearer(provider.token())
    first = await verifier.verify(token)
    assert await verifier.verify(token) is first
    clock.now = first.expires
    assert await verifier.verify(token) is not first


async def test_what_is_remembered_is_bounded(keys: KeySource, provider: Provider) -> None:
    verifier = TokenVerifier(TokenRules(ISSUER, AUDIENCE), keys, remembered=3)
    for n in range(10):
        await verifier.verify(bearer(provider.token(client_id=f"c{n}")))
    assert len(verifier._verified) == 3


async def test_a_long_token_takes_the_place_of_as_many_others_as_it_is_long(
    keys: KeySource, provider: Provider
) -> None:
    verifier = TokenVerifier(TokenRules(ISSUER, AUDIENCE), keys, remembered=20)
    for n in range(20):
        await verifier.verify(bearer(provider.token(client_id=f"c{n}")))
    acting = [{"type": 101, "code": f"{n:020}"} for n in range(MOST_ORGANISATIONS)]
    long = provider.token(may_act_as=acting)
    await verifier.verify(bearer(long))
    assert len(verifier._verified) == 20 - len(long) // SMALL_TOKEN
