"""Object-level access through the gateway: each method, type of organisation and relation answers as the specification's table."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, product
from typing import Final, Literal
from zoneinfo import ZoneInfo

import httpx
import pytest
from tests.e2e.caller import FUND, JOBCENTER, JOBNET, MUNICIPALITY, STAR, Caller, Json, fault, small_cv
from tests.e2e.system import REGISTRY, System

from cvhub.people import SEED
from cvhub.synthetic import OTHER_ACTOR, SyntheticCitizen, citizens
from servicekit.testing import eventually

pytestmark = pytest.mark.timeout(300)

Outcome = int | Literal["allowed", "left out"]
Who = Literal["a-kasse", "municipality", "jobcenter", "other actor", "STAR", "Jobnet", "company"]

# The table "Access" of the specification. own:F is "own, else fault F"; fund is "none registered 4385, another's 8291", and
# fund+120 reads 120 days longer; left out: without the relation the citizen is not in the answer, and there is no fault.
COLUMNS: Final[tuple[Who, ...]] = (
    "a-kasse",
    "municipality",
    "jobcenter",
    "other actor",
    "STAR",
    "Jobnet",
    "company",
)
TABLE: Final[Mapping[tuple[int, ...], tuple[str, ...]]] = {
    (1, 2, 6, 7, 8): ("fund+120", "own:4575", "own:4575", "referred:4511", "all", "all", "8292"),
    (3, 4): ("fund", "own:4575", "own:4575", "referred:4511", "8292", "all", "8292"),
    (5,): ("all", "all", "all", "all", "all", "all", "8292"),
    (9, 17, 18): ("own:left out", "own:left out", "own:left out", "referred:left out", "all", "all", "8292"),
    (10,): ("all", "all", "all", "all", "all", "all", "all"),
    (11, 12): ("8292", "8292", "own:6005", "8292", "8292", "8292", "8292"),
    (13,): ("8292", "8292", "own:6005", "8292", "8292", "all", "8292"),
    (14, 19): ("own:4575", "own:4575", "own:4575", "referred:4575", "8292", "all", "8292"),
    (15, 16): ("1013", "1013", "1013", "1013", "1013", "all", "1013"),
}
CELLS: Final = {
    (method, who): cell
    for methods, row in TABLE.items()
    for method in methods
    for who, cell in zip(COLUMNS, row, strict=True)
}
ACTOR: Final = f"4:{OTHER_ACTOR}"
ORGANISATIONS: Final[Mapping[Who, tuple[str, str | None]]] = {
    "a-kasse": (FUND, None),
    "municipality": (MUNICIPALITY, None),
    "jobcenter": (JOBCENTER, None),
    "other actor": (JOBCENTER, ACTOR),
    "STAR": (STAR, None),
    "Jobnet": (JOBNET, None),
    "company": ("24:87654321", None),
}
OTHERS: Final = ("1:73", "7:751", "8:75100")
"""A fund, a municipality and a jobcenter that nobody here calls as."""

_TODAY: Final = datetime.now(ZoneInfo("Europe/Copenhagen")).date()
YESTERDAY: Final = (_TODAY - timedelta(days=1)).isoformat()


def _to(organisation: str, by: str | None = None, **until: str) -> Json:
    kind, _, code = organisation.partition(":")
    told: Json = {"organisationType": int(kind), "organisationCode": code, "from": "2020-01-01", **until}
    if by is not None:
        referrer, _, of = by.partition(":")
        told |= {"referredByType": int(referrer), "referredByCode": of}
    return told


OWN: Final = (FUND, MUNICIPALITY, JOBCENTER)
RELATIONS: Final[Mapping[str, list[Json]]] = {
    "related": [*map(_to, OWN), _to(ACTOR, JOBCENTER, to=YESTERDAY), _to(ACTOR, MUNICIPALITY)],
    "related until yesterday": [
        *(_to(one, to=YESTERDAY) for one in OWN),
        _to(ACTOR, JOBCENTER, to=YESTERDAY),
    ],
    "related to another": [*map(_to, OTHERS), _to(ACTOR, "8:75100")],
    "referred": [*map(_to, OWN), _to(ACTOR, JOBCENTER)],
    "none": [],
}
RELATED_TODAY: Final = ("related", "referred")


def expected(method: int, who: Who, relation: str) -> Outcome:
    """Give what the table says."""
    rule, _, detail = CELLS[method, who].partition(":")
    if rule.isdigit():
        return int(rule)
    refused: Outcome = "left out" if detail == "left out" else int(detail or 0)
    match rule:
        case "all":
            return "allowed"
        case "own":
            return "allowed" if relation in RELATED_TODAY else refused
        case "referred":
            return "allowed" if relation == "referred" else refused
        case "fund" | "fund+120":
            reads_longer = rule == "fund+120" and relation == "related until yesterday"
            allowed = reads_longer or relation in RELATED_TODAY
            return "allowed" if allowed else 8291 if relation == "related to another" else 4385
    raise ValueError(rule)


@dataclass(frozen=True)
class Subject:
    """The citizen that a call is about, and since when their CV has changed."""

    one: SyntheticCitizen
    since: str

    @property
    def mobile(self) -> str:
        return f"+45261{self.one.index % 100_000:05}"

    @property
    def mail(self) -> str:
        return f"adgang{self.one.index}@example.com"


async def _listed(caller: Caller, about: Subject) -> httpx.Response:
    return await caller.call("GET", f"/v6/Cv/changes?CVChangeStartTime={about.since}")


def _header(
    verb: str, path: str, body: Json | None = None
) -> Callable[[Caller, Subject], Awaitable[httpx.Response]]:
    """Name the citizen in the header."""

    async def call(caller: Caller, about: Subject) -> httpx.Response:
        return await caller.call(verb, path, about.one.person_number, body)

    return call


def _body(
    path: str, body: Callable[[Subject], Json]
) -> Callable[[Caller, Subject], Awaitable[httpx.Response]]:
    """Name the citizen in the body, or nobody."""

    async def call(caller: Caller, about: Subject) -> httpx.Response:
        return await caller.call("POST", path, None, body(about))

    return call


def _status(about: Subject) -> Json:
    wanted = {
        "PersonCivilRegistrationIdentifier": about.one.person_number,
        "CvCustomerIdentifier": about.one.cv_number,
        "CvStatusIdentifier": READY,
    }
    return {"CvStatusSet": wanted}


async def _replace(caller: Caller, about: Subject) -> httpx.Response:
    contact = {"E-mail": about.mail, "PhoneNumber": [about.mobile]}
    body = {**small_cv("<p>adgang</p>"), "ContactInformation": contact}
    return await caller.replace_cv(about.one.person_number, body)


async def _save_contact(caller: Caller, about: Subject) -> httpx.Response:
    items = [
        {"PersonContactData": value, "PersonContactDataTypeIdentifier": kind}
        for kind, value in ((MOBILE, about.mobile), (MAIL, about.mail))
    ]
    body = {"PersonContactDataCollection": items}
    return await caller.call("POST", "/v1/kontaktinformation", about.one.person_number, body)


READY: Final = 2
MOBILE, LANDLINE, MAIL = 1, 2, 3
DATES: Final = {
    "AsylumCVTransitionDate": _TODAY.isoformat(),
    "CVEditEndDate": (_TODAY + timedelta(days=30)).isoformat(),
}
CALLS: Final[Mapping[int, Callable[[Caller, Subject], Awaitable[httpx.Response]]]] = {
    1: _header("GET", "/v6/Cv"),
    2: _header("GET", "/v6/Cv/pdf"),
    3: _header("POST", "/v6/JobnetAccount/letter"),
    4: _body("/v6/Cv/cvstatus", _status),
    5: _body("/v6/Cv/search", lambda _: {}),
    6: _header("GET", "/v6/Cv/cvstatus"),
    7: _header("GET", f"/v6/Cv/versions/onstatus?CVStatusIdentifier={READY}"),
    8: _header("GET", "/v6/Cv/versions"),
    9: _listed,
    10: _body(
        "/v6/Cv/bynumber", lambda about: {"CVNumber": about.one.cv_number, "CitizenConsentObtained": True}
    ),
    11: _header("POST", "/v6/AsylumTransition", DATES),
    12: _header("PUT", "/v6/AsylumTransition", DATES),
    13: _replace,
    14: _save_contact,
    15: _body(
        "/v1/kontaktinformation/verificering",
        lambda about: {
            "CvCustomerIdentifier": about.one.cv_number,
            "VerificationCode": "000000",
            "PersonContactDataTypeIdentifier": LANDLINE,
        },
    ),
    16: _body(
        "/v1/kontaktinformation/verificering/ny",
        lambda about: {
            "CvCustomerIdentifier": about.one.cv_number,
            "PersonContactDataTypeIdentifier": LANDLINE,
        },
    ),
    17: _body("/v1/kontaktinformation/mobiltelefon", lambda about: {"mobiltelefon": about.mobile}),
    18: _body("/v1/kontaktinformation/emailadresse", lambda about: {"email": about.mail}),
    19: _header(
        "POST",
        "/v1/kontaktinformation/status",
        {"PersonContactDataTypeIdentifier": MAIL, "PersonContactDataStatusTypeIdentifier": 3},
    ),
}
OWN_RULE: Final = {15: 9240, 16: 9240}
"""What a caller with access gets: a landline cannot be verified."""


def outcome(method: int, about: Subject, answer: httpx.Response) -> Outcome:
    """Give what the answer says about access to this citizen."""
    if answer.status_code != 200:
        code = fault(answer)[1] or answer.status_code
        return "allowed" if code == OWN_RULE.get(method) else code
    if method in OWN_RULE:
        return answer.status_code
    if method == 9:
        numbers = [item["CVNumber"] for item in answer.json().get("CVUpdateList", [])]
        return "allowed" if about.one.cv_number in numbers else "left out"
    if method in (17, 18):
        found = [item["civilregistrationIdentifier"] for item in answer.json()["CprCollection"]]
        return "allowed" if about.one.person_number in found else "left out"
    return "allowed"


Purpose = Literal["of a fund", "in transition", "before transition"]
GROUPS: Final[Mapping[Purpose, int]] = {"of a fund": 1, "in transition": 3, "before transition": 3}
"""Contact groups: funds set the status for 1; jobcenters do for 3, and may replace CVs in transition."""
_first: Final = count(12_000, 100)
"""Index of the first of them; nobody else's test is about them."""


def purpose(method: int, who: Who) -> Purpose:
    """Choose the citizen for whom the method's own rules are no hindrance."""
    if who == "a-kasse":
        return "of a fund"
    return "before transition" if method == 11 else "in transition"


Subjects = Mapping[tuple[str, Purpose], Subject]


async def _told(system: System, http: httpx.AsyncClient) -> dict[tuple[str, Purpose], SyntheticCitizen]:
    """Tell the registry of new citizens: one of each relation and purpose."""
    wanted = list(product(RELATIONS, GROUPS))
    people = dict(zip(wanted, citizens(SEED, len(wanted), start=next(_first)), strict=True))
    for (relation, why), one in people.items():
        one.citizen |= {"relations": RELATIONS[relation], "contactGroup": GROUPS[why], "dead": False}
    token = system.signer("citizen-intake").token(REGISTRY, None)
    answer = await http.post(
        f"{system.url(REGISTRY)}/internal/citizens",
        json={"citizens": [one.citizen for one in people.values()]},
        headers={"authorization": f"Bearer {token}"},
    )
    assert {result["outcome"] for result in answer.json()["results"]} == {"applied"}, answer.text
    return people


async def subjects_of(caller: Caller) -> Subjects:
    """Give new citizens with everything that the methods ask for: CV, frozen version, contact data, dates."""
    since = (datetime.now(ZoneInfo("UTC")) - timedelta(seconds=1)).isoformat(timespec="milliseconds")
    people = await _told(caller.system, caller.http)
    found = {key: Subject(one, since.replace("+00:00", "Z")) for key, one in people.items()}
    center = caller.acting(JOBCENTER)

    async def ready(relation: str, why: Purpose, about: Subject) -> None:
        for method in (13, 4, 14):
            answer = await CALLS[method](caller, about)
            assert answer.status_code == 200, (method, answer.text)
        if why == "in transition" and relation in RELATED_TODAY:
            assert (await CALLS[11](center, about)).status_code == 200

    await asyncio.gather(*(ready(*key, about) for key, about in found.items()))

    async def listed() -> None:
        numbers = json.dumps((await _listed(caller, found["none", "of a fund"])).json())
        assert all(about.one.cv_number in numbers for about in found.values())

    await eventually(listed, timedelta(seconds=60))
    return found


async def wrong_answers(
    caller: Caller, asked: Sequence[tuple[int, Who, str]]
) -> list[tuple[int, Who, str, Outcome, Outcome]]:
    """Ask, the relations side by side; give what was answered otherwise than the table says: expected, then answered."""
    subjects = await subjects_of(caller)

    async def of(relation: str) -> list[tuple[int, Who, str, Outcome, Outcome]]:
        wrong = []
        for method, who, _ in (one for one in asked if one[2] == relation):
            about = subjects[relation, purpose(method, who)]
            answer = await CALLS[method](caller.acting(*ORGANISATIONS[who]), about)
            said, should = outcome(method, about, answer), expected(method, who, relation)
            if said != should:
                wrong.append((method, who, relation, should, said))
        return wrong

    return [one for found in await asyncio.gather(*map(of, RELATIONS)) for one in found]


PRODUCT: Final = list(product(CALLS, COLUMNS, RELATIONS))


async def test_a_sample_of_methods_organisations_and_relations_is_answered_as_the_table_says(
    caller: Caller,
) -> None:
    """Each method with each type of organisation once, the relation another one each time."""
    kinds = list(RELATIONS)
    sample = [one for one in PRODUCT if kinds.index(one[2]) == (one[0] + COLUMNS.index(one[1])) % len(kinds)]
    assert len(sample) == len(CALLS) * len(COLUMNS)
    assert await wrong_answers(caller, sample) == []


@pytest.mark.long
async def test_every_method_organisation_and_relation_is_answered_as_the_table_says(caller: Caller) -> None:
    assert await wrong_answers(caller, PRODUCT) == []


@pytest.mark.parametrize("who", COLUMNS)
async def test_nobody_reads_by_number_without_consent(caller: Caller, who: Who) -> None:
    [one] = citizens(SEED, 1, start=100)
    answer = await caller.acting(*ORGANISATIONS[who]).by_number(one.cv_number, consent=False)
    assert fault(answer) == (400, 9192)
