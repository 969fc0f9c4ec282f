"""Whatever is sent to the gateway, it answers as its own description says, and never with an error of its own."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, MutableMapping
from collections.abc import Set as AbstractSet
from copy import deepcopy
from datetime import timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.e2e.caller import CITIZEN, JOBNET, STAR, Caller, population, small_cv
from tests.e2e.system import ALL_SCOPES, System

from cv_contracts.methods import METHODS
from cv_gateway.openapi import document
from cvhub.synthetic import SyntheticCitizen

CASES_PER_SERVICE = 10_000
CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
CITIZENS = population(120)[:20]
USER = {"x-requestuser-name": "A%20B", "x-requestuser-type": "2", "x-requestuser-identifier": "user-1"}
USUAL: dict[str, tuple[object, ...]] = {
    "PersonContactDataTypeIdentifier": (1, 2, 3),
    "PersonContactData": ("+4520123456", "33123456", "borger@example.com"),
    "PersonContactDataStatusTypeIdentifier": (1, 2, 3, 4),
    "CvStatusIdentifier": (1, 2, 3, 5),
    "CVStatusIdentifier": (2, 3, 5),
    "mobiltelefon": ("+4520123456", "20123456"),
}
MOSTLY = 0.8
"""How often something that is there takes the place of what was generated, so that a call gets behind the first checks."""
_DESCRIBED = schemathesis.openapi.from_dict(document())
OPERATIONS = {
    found.ok().label: found.ok() for found in _DESCRIBED.get_all_operations() if isinstance(found, Ok)
}


def _owner(label: str) -> str:
    operation = OPERATIONS[label]
    route = (operation.method.upper(), operation.path)
    return next((m.owner for m in METHODS if (m.verb, m.path) == route), "change-feed")


OPERATIONS_OF = Counter(map(_owner, OPERATIONS))
NEVER_DONE = {
    "PUT /v6/Cv",  # its codes are of the lists that the owner holds
    "GET /v6/Cv/versions/onstatus",  # a version that was frozen
    "POST /v6/AsylumTransition",  # two days that follow one upon the other
    "PUT /v6/AsylumTransition",
    "POST /v1/kontaktinformation/verificering",  # a code that was sent
    "POST /v1/kontaktinformation/verificering/ny",  # contact data that wait for a code
    "POST /v1/kontaktinformation/status",  # contact data that there are
}
"""What is generated is not done by these: it would have to fit more than its description."""
RARELY_DONE = {"POST /v6/Cv/cvstatus", "POST /v1/kontaktinformation"}
"""Nor, in a sample, by these."""


def _configured(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )


def _callers(case: Case[Any], citizen: SyntheticCitizen) -> list[str]:
    """Give who may call, or nearly may: mostly Jobnet, but only the citizen's own authorities set asylum dates."""
    own = [
        f"{one['organisationType']}:{one['organisationCode']}"
        for one in citizen.citizen["relations"]
        if "to" not in one
    ]
    return own if "Asylum" in case.path else [*[JOBNET] * 5, STAR, *own]


def _make_plausible(case: Case[Any], citizen: SyntheticCitizen, choose: random.Random) -> None:
    """Name the citizen, a user and numbers that are there, mostly."""
    usual = {
        **USUAL,
        CITIZEN: (citizen.person_number,),
        "PersonCivilRegistrationIdentifier": (citizen.person_number,),
        "x-cvcustomeridentifier": (citizen.cv_number,),
        "CvCustomerIdentifier": (citizen.cv_number,),
        "CVNumber": (citizen.cv_number,),
    }
    if choose.random() < MOSTLY:
        case.headers.update(USER)
    if choose.random() < MOSTLY:
        case.headers.pop("x-consistency-token", None)
    if isinstance(case.body, dict | list):
        case.body = deepcopy(case.body)  # an example is the description's own
    for said in (case.headers, case.query, case.body):
        _put(said, usual, choose)


def _put(said: Any, usual: dict[str, tuple[object, ...]], choose: random.Random) -> None:
    if isinstance(said, MutableMapping):
        for name, value in said.items():
            known = usual.get(name) or usual.get(name.lower())
            if known is None:
                _put(value, usual, choose)
            elif choose.random() < MOSTLY:
                said[name] = choose.choice(known)
    elif isinstance(said, list):
        for one in said:
            _put(one, usual, choose)


def _judge(case: Case[Any], choose: random.Random, system: System) -> int:
    """Send the case as a caller with a good token, and hold the answer against the description; gives its status."""
    citizen = choose.choice(CITIZENS)
    _make_plausible(case, citizen, choose)
    organisation = choose.choice(_callers(case, citizen))
    kind, _, code = organisation.partition(":")
    case.headers.update(
        {
            "authorization": f"Bearer {system.token(organisation, ALL_SCOPES)}",
            "x-activeorganisation-type": kind,
            "x-activeorganisation-code": code,
        }
    )
    case.headers.pop("x-requestorganisation-type", None)
    case.headers.pop("x-requestorganisation-code", None)
    answer = case.call(base_url=system.url("gateway"))
    case.validate_response(answer, checks=CHECKS)
    status: int = answer.status_code
    assert status < 500, status
    return status


def _fuzz(
    operation: APIOperation[Any, Any, Any, Any], system: System, examples: int, refused: AbstractSet[str]
) -> None:
    """Send so many calls that fit the description, and so many that do not.

    Some must have got behind token and access, and some been done what they asked for unless the operation is among `refused`.
    """
    statuses: Counter[int] = Counter()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @_configured(examples)
        @given(case=operation.as_strategy(generation_mode=mode), seed=st.integers(0, 2**32))
        def judged(case: Case[Any], seed: int) -> None:
            statuses[_judge(case, random.Random(seed), system)] += 1  # noqa: S311 - no secret

        judged()
    assert statuses.total() >= 2 * examples, statuses
    assert statuses.keys() - {401, 403}, statuses
    assert operation.label in refused or any(status < 300 for status in statuses), statuses


@pytest.mark.parametrize("operation", OPERATIONS)
def test_generated_calls_are_answered_as_described(operation: str, system: System) -> None:
    _fuzz(OPERATIONS[operation], system, 12, NEVER_DONE | RARELY_DONE)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_thousands_of_generated_calls_are_answered_as_described(operation: str, system: System) -> None:
    of_each_mode = CASES_PER_SERVICE // (2 * OPERATIONS_OF[_owner(operation)]) + 1
    _fuzz(OPERATIONS[operation], system, of_each_mode, NEVER_DONE)


def _mutations(seed: int, count: int) -> list[bytes]:
    """Give requests that were once good, with bytes changed, left out or repeated."""
    choose = random.Random(seed)  # noqa: S311 - no secret
    good = (
        b"PUT /v6/Cv HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer x\r\ncontent-type: application/json\r\n"
        b'x-requestid: a\r\ncontent-length: 17\r\n\r\n{"JobConditions":1}'
    )
    made = []
    for _ in range(count):
        said = bytearray(good)
        for _ in range(choose.randrange(1, 6)):
            place = choose.randrange(len(said))
            change: Callable[[], bytes] = choose.choice(
                [
                    lambda: bytes([choose.randrange(256)]),
                    lambda: b"",
                    lambda: b"\r\n",
                    lambda: b"\x00",
                    lambda: b": " * 50,
                    lambda: b"9" * 30,
                ]
            )
            said[place : place + choose.randrange(4)] = change()
        made.append(bytes(said))
    return made


async def _say(port: int, said: bytes) -> int | None:
    """Send raw bytes and end; give the status of the answer, if there was one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        writer.write_eof()
        async with asyncio.timeout(timedelta(seconds=15).total_seconds()):
            line = await reader.readline()
    except (ConnectionError, TimeoutError):
        return None
    finally:
        writer.close()
    return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else None


async def _garbage_is_survived(system: System, caller: Caller, count: int) -> None:
    port = system.stack.ports["gateway"]
    statuses: set[int | None] = set()
    for begin in range(0, count, 20):
        said = _mutations(begin, min(20, count - begin))
        statuses |= set(await asyncio.gather(*(_say(port, one) for one in said)))
    assert not {status for status in statuses if status is not None and status >= 500}
    one = population(120)[0]
    assert (await caller.get_cv(one.person_number)).status_code == 200


async def test_raw_garbage_is_refused_and_harms_nobody(system: System, caller: Caller) -> None:
    await _garbage_is_survived(system, caller, 300)


@pytest.mark.long
async def test_much_raw_garbage_is_refused_and_harms_nobody(system: System, caller: Caller) -> None:
    await _garbage_is_survived(system, caller, 10_000)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"CV":' * 20_000,
        b'{"CVNumber": ' + b"9" * 10_000 + b', "CitizenConsentObtained": true}',
        b'{"CVNumber": 1e999999, "CitizenConsentObtained": true}',
        b'{"CVNumber": "\\ud800\\udc00\\ud800", "CitizenConsentObtained": true}',
        b'{"CVNumber": "\\u0000", "CitizenConsentObtained": true}',
        b'{"CVNumber": NaN, "CitizenConsentObtained": true}',
        b"\xef\xbb\xbf{}",
        b"",
    ],
    ids=[
        "deep list",
        "deep object",
        "huge number",
        "overflow",
        "half a pair",
        "null character",
        "NaN",
        "BOM",
        "empty",
    ],
)
async def test_hostile_json_is_a_fault_of_the_caller(caller: Caller, body: bytes) -> None:
    for verb, path in (("POST", "/v6/Cv/bynumber"), ("PUT", "/v6/Cv"), ("POST", "/v6/AsylumTransition")):
        answer = await caller.call(verb, path, population(120)[0].person_number, body)
        assert 400 <= answer.status_code < 500, (path, answer.status_code)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_texts_with_characters_that_a_database_cannot_hold_are_no_error_of_ours(caller: Caller) -> None:

    for text in ("a\x00b", "\ud800", "\U0010ffff", "\ufffe", "<p>" * 5_000):
        body = small_cv(text)
        answer = await caller.replace_cv(population(120)[1].person_number, body)
        assert answer.status_code < 500, (text[:5], answer.status_code)


async def test_a_body_that_is_too_large_is_413_and_the_connection_lives_or_ends_cleanly(
    caller: Caller, http: httpx.AsyncClient
) -> None:
    answer = await caller.replace_cv(population(120)[0].person_number, b" " * 3_000_000)
    assert answer.status_code == 413
    assert (await caller.get_cv(population(120)[0].person_number)).status_code == 200
