"""Who calls: every way in which token and headers can be wrong, and which fault is answered first."""

import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from cv_contracts.methods import METHODS, Method
from cv_gateway.testing import AUDIENCE, ISSUER, Provider, call_headers
from servicekit.caller import Organisation, User
from servicekit.testing import eventually
from servicekit.web.identity import ServiceVerifier
from servicekit.web.upstream_testing import ScriptedOwner

pytestmark = pytest.mark.slow

Headers = dict[str, str | None]
Start = Any

FAULTS: dict[str, tuple[int, Headers]] = {
    "no organisation type": (8232, {"x-activeorganisation-type": None}),
    "no organisation code": (8232, {"x-activeorganisation-code": None}),
    "no user name": (8233, {"x-requestuser-name": None}),
    "no user type": (8233, {"x-requestuser-type": None}),
    "no user identifier": (8233, {"x-requestuser-identifier": None}),
    "an empty organisation type": (8234, {"x-activeorganisation-type": ""}),
    "an organisation type in words": (8234, {"x-activeorganisation-type": "jobcenter"}),
    "a negative organisation type": (8234, {"x-activeorganisation-type": "-8"}),
    "an organisation type with a point": (8234, {"x-activeorganisation-type": "8.0"}),
    "an organisation type of many digits": (8234, {"x-activeorganisation-type": "8" * 5000}),
    "an empty code": (8234, {"x-activeorganisation-code": ""}),
    "a code too long": (8234, {"x-activeorganisation-code": "1" * 21}),
    "a code with a space": (8234, {"x-activeorganisation-code": "101 00"}),
    "an empty user name": (8235, {"x-requestuser-name": ""}),
    "a user name too long": (8235, {"x-requestuser-name": "a" * 141}),
    "a user name of half a character": (8235, {"x-requestuser-name": "S%C3ren"}),
    "a user name with a bare percent sign": (8235, {"x-requestuser-name": "100%"}),
    "a user name with a line break": (8235, {"x-requestuser-name": "a%0Ab"}),
    "a user name with a null": (8235, {"x-requestuser-name": "a%00b"}),
    "an overlong encoding": (8235, {"x-requestuser-name": "%C0%AF"}),
    "an encoded surrogate": (8235, {"x-requestuser-name": "%ED%A0%80"}),
    "a user identifier too long": (8235, {"x-requestuser-identifier": "1" * 256}),
    "a user type in words": (8235, {"x-requestuser-type": "system"}),
    "an unknown organisation type": (8173, {"x-activeorganisation-type": "9"}),
    "an unknown user type": (8174, {"x-requestuser-type": "9"}),
    "an organisation that the token does not name": (4575, {"x-activeorganisation-code": "15100"}),
    "another type of organisation": (
        4575,
        {"x-activeorganisation-type": "7", "x-activeorganisation-code": "101"},
    ),
    "another's request organisation": (
        4575,
        {"x-requestorganisation-type": "4", "x-requestorganisation-code": "12345678"},
    ),
    "half a request organisation": (4575, {"x-requestorganisation-type": "8"}),
    "an unreadable request organisation": (
        4575,
        {"x-requestorganisation-type": "x", "x-requestorganisation-code": "10100"},
    ),
}


def changed(headers: dict[str, str], changes: Headers) -> dict[str, str]:
    merged = {**headers, **changes}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.parametrize("case", FAULTS)
async def test_a_call_is_refused_for(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner, case: str
) -> None:
    code, changes = FAULTS[case]
    answer = await client.get("/v6/Cv", headers=changed(call_headers(provider.token()), changes))
    problem = answer.json()
    assert (problem["code"], answer.headers["content-type"]) == (code, "application/problem+json")
    assert answer.status_code == (403 if code == 4575 else 400)
    assert problem["traceId"] == answer.headers["x-trace-id"]
    assert registry.received == []


ORDER: list[tuple[int, Headers]] = [
    (1012, {"authorization": "Bearer x"}),
    (8232, {"x-activeorganisation-type": None}),
    (8233, {"x-requestuser-name": None}),
    (8234, {"x-activeorganisation-code": "1" * 21}),
    (8235, {"x-requestuser-identifier": "%"}),
    (8173, {"x-activeorganisation-type": "9"}),
    (8174, {"x-requestuser-type": "9"}),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
async def test_of_several_faults_the_one_that_the_order_names_first_is_answered(
    client: httpx.AsyncClient, provider: Provider, first: int
) -> None:
    headers = call_headers(provider.token(scope="cv.write", may_act_as=[]))
    for _, changes in reversed(ORDER[first:]):
        headers = changed(headers, changes)
    answer = await client.get("/v6/Cv", headers=headers)
    assert answer.json()["code"] == ORDER[first][0]


async def test_a_missing_scope_comes_before_an_organisation_that_is_not_the_tokens(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    other = {"organisation": {"type": 8, "code": "15100"}, "may_act_as": []}
    for scope in ("cv.write", "", None):
        answer = await client.get("/v6/Cv", headers=call_headers(provider.token(scope=scope, **other)))
        assert (answer.status_code, answer.json()["code"]) == (403, 1013)
    answer = await client.get("/v6/Cv", headers=call_headers(provider.token(**other)))
    assert (answer.status_code, answer.json()["code"]) == (403, 4575)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
async def test_each_method_needs_its_own_scope(
    client: httpx.AsyncClient, provider: Provider, method: Method
) -> None:
    all_others = " ".join(sorted({m.scope for m in METHODS} - {method.scope}))
    jobnet = {"organisation": {"type": 101, "code": "1"}, "may_act_as": []}
    headers = call_headers(
        provider.token(scope=all_others, **jobnet),
        x_activeorganisation_type="101",
        x_activeorganisation_code="1",
    )
    answer = await client.request(method.verb, method.path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, 1013)
    challenge = f'Bearer realm="cvhub", error="insufficient_scope", scope="{method.scope}"'
    assert answer.headers["www-authenticate"] == challenge
    headers["authorization"] = "Bearer " + provider.token(scope=method.scope, **jobnet)
    answer = await client.request(method.verb, method.path, headers=headers)
    assert answer.status_code in (200, 503)


@pytest.mark.parametrize(
    "path", ["/v1/kontaktinformation/verificering", "/v1/kontaktinformation/verificering/ny"]
)
async def test_verification_is_for_jobnet_only(
    client: httpx.AsyncClient, provider: Provider, path: str
) -> None:
    answer = await client.post(path, headers=call_headers(provider.token()))
    assert (answer.status_code, answer.json()["code"]) == (403, 1013)
    # Another scope would not help.
    assert "www-authenticate" not in answer.headers
    jobnets = {"organisation": {"type": 4, "code": "12345678"}, "may_act_as": [{"type": 101, "code": "1"}]}
    headers = call_headers(
        provider.token(**jobnets), x_activeorganisation_type="101", x_activeorganisation_code="1"
    )
    assert (await client.post(path, headers=headers)).json()["code"] == 1013


async def test_an_unknown_fund_or_jobcenter_is_named_before_the_tokens_organisations_where_the_seed_lists_it(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    for kind, code, fault in (("1", "99", 4985), ("8", "99999", 4986)):
        headers = call_headers(
            provider.token(), x_activeorganisation_type=kind, x_activeorganisation_code=code
        )
        answer = await client.post("/v1/kontaktinformation/status", headers=headers)
        assert answer.json()["code"] == fault
        assert (await client.get("/v6/Cv", headers=headers)).json()["code"] == 4575


async def test_a_code_that_only_the_token_knows_is_1014(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    token = provider.token(organisation={"type": 8, "code": "99999"})
    headers = call_headers(token, x_activeorganisation_code="99999")
    problem = (await client.get("/v6/Cv", headers=headers)).json()
    assert problem["code"] == 1014
    assert problem["errors"][0]["element"] == "x-activeorganisation-code"


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "x-activeorganisation-type",
        "x-activeorganisation-code",
        "x-requestuser-name",
        "x-requestuser-type",
        "x-requestuser-identifier",
        "x-civilregistrationidentifier",
        "x-requestid",
    ],
)
async def test_a_header_given_twice_is_refused(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner, name: str
) -> None:
    headers = call_headers(provider.token(), x_requestid="r1")
    twice = [*headers.items(), (name, headers[name])]
    expected = {"authorization": 1012, "x-a": 8234, "x-r": 8235}
    code = 1014 if name in ("x-requestid", "x-civilregistrationidentifier") else expected.get(name, 0)
    answer = await client.get("/v6/Cv", headers=twice)
    assert answer.json()["code"] == (code or expected[name[:3]])
    assert registry.received == []


@pytest.fixture
def other_actor(provider: Provider) -> str:
    return provider.token(
        organisation={"type": 4, "code": "12345678"}, may_act_as=[{"type": 8, "code": "10100"}]
    )


async def test_an_other_actor_never_passes_as_the_authority_it_works_for(
    client: httpx.AsyncClient, registry: ScriptedOwner, verifier: ServiceVerifier, other_actor: str
) -> None:
    for extra in (
        {},
        {"x_requestorganisation_type": "4", "x_requestorganisation_code": "12345678"},
    ):
        await client.get("/v6/Cv", headers=call_headers(other_actor, **extra))
        caller = verifier.authenticate(registry.received[-1].header("authorization")).caller
        assert caller is not None
        assert caller.active == Organisation(8, "10100")
        assert caller.own == caller.request_organisation == Organisation(4, "12345678")
    headers = call_headers(other_actor, x_requestorganisation_type="8", x_requestorganisation_code="10100")
    assert (await client.get("/v6/Cv", headers=headers)).json()["code"] == 4575


async def test_names_and_identifiers_of_the_longest_length_arrive_as_they_are(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner, verifier: ServiceVerifier
) -> None:
    name, identifier = "Ægirs Å " + "ø" * 132, "😀" * 255
    headers = call_headers(
        provider.token(), x_requestuser_name=quote(name), x_requestuser_identifier=quote(identifier)
    )
    assert (await client.get("/v6/Cv", headers=headers)).status_code == 200
    caller = verifier.authenticate(registry.received[-1].header("authorization")).caller
    assert caller is not None
    assert caller.user == User(name, 2, identifier)


async def test_a_remembered_caller_is_not_mistaken_for_one_with_other_headers(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner, verifier: ServiceVerifier
) -> None:
    token = provider.token()
    for name in ("A", "B", "A"):
        await client.get("/v6/Cv", headers=call_headers(token, x_requestuser_name=name))
        caller = verifier.authenticate(registry.received[-1].header("authorization")).caller
        assert caller is not None
        assert caller.user.name == name
    headers = call_headers(token, x_activeorganisation_code="15100")
    assert (await client.get("/v6/Cv", headers=headers)).json()["code"] == 4575
    narrow = call_headers(provider.token(scope="cv.read"))
    assert (await client.get("/v6/Cv", headers=narrow)).status_code == 200
    assert (await client.put("/v6/Cv", headers=narrow)).json()["code"] == 1013


async def test_a_remembered_caller_is_admitted_no_longer_than_its_token_is_good(
    start: Start, provider: Provider
) -> None:
    headers = call_headers(provider.token(exp=int(time.time()) + 2))
    async with start(token=_short(provider, leeway=timedelta(0))) as (_, client):
        assert (await client.get("/v6/Cv", headers=headers)).status_code == 200
        await eventually(lambda: _is_refused(client, headers), timeout=timedelta(seconds=10))


async def test_a_remembered_caller_is_refused_once_the_key_of_its_token_is_withdrawn(
    start: Start, provider: Provider
) -> None:
    headers = call_headers(provider.token("ec"))
    often = {"keys_max_age": timedelta(seconds=0.2), "keys_min_interval": timedelta(seconds=0.05)}
    async with start(token=_short(provider, **often)) as (_, client):
        assert (await client.get("/v6/Cv", headers=headers)).status_code == 200
        provider.withdraw_key("ec")
        await eventually(lambda: _is_refused(client, headers), timeout=timedelta(seconds=10))


def _short(provider: Provider, **times: timedelta) -> dict[str, Any]:
    return {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": provider.jwks_url, **times}


async def _is_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.get("/v6/Cv", headers=headers)
    assert (answer.status_code, answer.json().get("code")) == (401, 1012)
