"""ReplaceCV: each fault, the order of the checks, the window, repeats; on a real PostgreSQL."""

import asyncio
import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from cv_citizens.testing import (
    ACTOR,
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_JOBCENTER,
    STAR,
    a_caller,
    relation,
)
from cv_contracts.wire.common import HTML_TEXT_MAX
from cv_contracts.wire.cv_profile import GetCVResponse
from cv_registry.store_cvs import CvStore
from cv_registry.testing import (
    RegistryClient,
    SettableClock,
    a_citizen,
    a_cv,
    a_person_number,
    in_window,
    with_cv,
)
from servicekit.caller import Organisation
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox

pytestmark = pytest.mark.infra

AT_THE_JOBCENTER = a_caller(JOBCENTER)
WINDOW = {"AsylumCVTransitionDate": "2026-11-20", "CVEditEndDate": "2026-11-25"}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Give a CV body with one element set; a value of None removes it."""
    body = copy.deepcopy(a_cv())
    *parents, last = path.split(".")
    target: Any = body
    for part in parents:
        target = target[int(part)] if part.isdigit() else target[part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return body


async def test_a_first_replace_creates_the_cv_and_publishes_it_under_the_receipts_id(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    response = await registry.replace(citizen["personNumber"])
    receipt = response.json()["ServiceReceipt"]
    row = await database.fetchrow("SELECT * FROM outbox WHERE aggregateid = $1", ids["cvId"])
    assert row is not None
    assert (str(row["id"]), row["aggregatetype"]) == (receipt["MessageIdentifier"], "cv-registry.cv-changed")
    assert b'"change":"created"' in row["payload"]
    assert response.headers["etag"] == f'"{row["version"]}"'
    assert datetime.fromisoformat(receipt["EventDate"]) == row["time"]
    assert response.headers["x-consistency-token"]


async def test_every_replace_keeps_a_revision_with_its_date(
    registry: RegistryClient, database: Database
) -> None:
    citizen = await with_cv(registry)
    for year in ("2020", "2021"):
        body = changed("JobTargetCollection.0.LastExperience", year)
        assert (await registry.replace(citizen["personNumber"], body)).status_code == 200
    revisions = await database.fetch("SELECT version, revised_at, content FROM cv_revisions ORDER BY version")
    cv = await database.fetchrow("SELECT version, revision, revised_at FROM cvs")
    assert cv is not None
    assert len(revisions) == 3
    assert cv["version"] == cv["revision"] == revisions[-1]["version"]
    assert cv["revised_at"] == revisions[-1]["revised_at"]
    assert b'"2020"' in revisions[1]["content"]
    shown = (await registry.get(citizen["personNumber"])).json()
    assert shown["CVProfile"]["JobTargetCollection"][0]["LastExperience"] == "2021"


async def test_a_body_that_breaks_the_seed_is_1014_naming_the_element(registry: RegistryClient) -> None:
    wrong: list[tuple[str, Any, str]] = [
        ("ContactInformation", None, "ContactInformation"),
        ("JobConditions", None, "JobConditions"),
        ("JobConditions.FullTimeEmployment", False, "JobConditions.FullTimeEmployment"),
        ("JobConditions.WillingToUseOwnCar", True, "JobConditions"),
        ("Unheard", 1, "body"),
        ("JobTargetCollection.0.HasEducation", "yes", "JobTargetCollection[0].HasEducation"),
        ("JobTargetCollection.0.LastExperience", 2017, "JobTargetCollection[0].LastExperience"),
        ("JobTargetCollection.0.MonthsOfExperience", -1, "JobTargetCollection[0].MonthsOfExperience"),
        ("CV.DriverLicenseCollection.0.Code", "Z9", "CV.DriverLicenseCollection[0].Code"),
        ("CV.LanguageSkillCollection.0.Code", "zz", "CV.LanguageSkillCollection[0].Code"),
        ("CV.LanguageSkillCollection.0.Level", "Fluent", "CV.LanguageSkillCollection[0].Level"),
        ("CV.OtherExperienceCollection.0.Title", "x" * 101, "CV.OtherExperienceCollection[0].Title"),
        ("CV.EducationCollection.0.EducationLevel", "None", "CV.EducationCollection[0].EducationLevel"),
        (
            "CV.PreviousJobExperienceCollection.0.EndDate",
            {"Year": "2018"},
            "CV.PreviousJobExperienceCollection[0].EndDate",
        ),
        ("CV.OtherCVReferenceCollection", ["a", "b"], "CV.OtherCVReferenceCollection"),
        (
            "CV.ProfessionalSummaryText",
            {"HTMLText": "&" * (HTML_TEXT_MAX // 5 + 1)},
            "CV.ProfessionalSummaryText.HTMLText",
        ),
    ]
    told = []
    for path, value, _ in wrong:
        response = await registry.replace(a_person_number(), changed(path, value))
        problem = response.json()
        elements = [error["element"] for error in problem.get("errors", ())]
        told.append((path, response.status_code, problem.get("code"), elements))
    assert told == [(path, 400, 1014, [element]) for path, _, element in wrong]


async def test_a_body_that_is_no_message_is_1014(registry: RegistryClient) -> None:
    told = {}
    for body in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}"):
        response = await registry.replace(a_person_number(), body)
        told[body] = (response.status_code, response.json().get("code"))
    assert told == dict.fromkeys(told, (400, 1014))


async def test_a_malformed_person_number_is_1014(registry: RegistryClient) -> None:
    told = {}
    for number in ("", "123", "3102901234", "01019012345", "ab01901234"):
        response = await registry.replace(number)
        problem = response.json()
        del problem["traceId"]
        told[number] = (response.status_code, problem.get("code"), bool(number) and number in str(problem))
    assert told == dict.fromkeys(told, (400, 1014, False))


@pytest.mark.parametrize(
    "organisation", [FUND, MUNICIPALITY, STAR, COMPANY], ids=["fund", "municipality", "star", "company"]
)
async def test_organisations_that_never_replace_get_8292(
    registry: RegistryClient, organisation: Organisation
) -> None:
    citizen = await in_window(registry)
    response = await registry.replace(citizen["personNumber"], caller=a_caller(organisation))
    assert (response.status_code, response.json()["code"]) == (403, 8292)


async def test_an_other_actor_never_replaces(registry: RegistryClient) -> None:
    citizen = await in_window(registry)
    caller = a_caller(JOBCENTER, ACTOR)
    assert (await registry.replace(citizen["personNumber"], caller=caller)).json()["code"] == 8292


async def test_an_unknown_citizen_is_4103(registry: RegistryClient) -> None:
    for number in (a_person_number(), "0000000000"):
        assert (await registry.replace(number)).json()["code"] == 4103


async def test_a_citizen_whose_number_was_withdrawn_is_4103(registry: RegistryClient) -> None:
    citizen = await with_cv(registry)
    base = {k: v for k, v in citizen.items() if k not in ("index", "outcome", "personId", "cvId", "cvNumber")}
    await registry.register({**base, "sourceVersion": 2, "cvNumberWithdrawn": True})
    assert (await registry.replace(citizen["personNumber"])).json()["code"] == 4103
    assert (await registry.get(citizen["personNumber"])).json()["code"] == 4103


async def test_another_jobcenters_citizen_is_6005(registry: RegistryClient) -> None:
    citizen = await in_window(registry)
    response = await registry.replace(citizen["personNumber"], caller=a_caller(OTHER_JOBCENTER))
    assert (response.status_code, response.json()["code"]) == (403, 6005)


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [("ARCHIVED", 4753, 409), ("DISABLED", 4754, 409), ("DELETED", 4755, 404), ("LOCKED", 4823, 409)],
)
async def test_the_state_of_the_cv_refuses_a_replace(
    registry: RegistryClient, state: str, code: int, status: int
) -> None:
    citizen = await with_cv(registry, state)
    response = await registry.replace(citizen["personNumber"])
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_dead_citizens_cv_is_not_replaced(registry: RegistryClient) -> None:
    citizen = await with_cv(registry, dead=True)
    response = await registry.replace(citizen["personNumber"])
    assert (response.status_code, response.json()["code"]) == (409, 4405)


async def test_a_cv_that_is_being_replaced_is_4823(registry: RegistryClient, database: Database) -> None:
    citizen = await with_cv(registry)
    async with database.write(CvStore.lock(citizen["personNumber"])):
        response = await registry.replace(citizen["personNumber"])
        with_id = await registry.replace(citizen["personNumber"], x_requestid="r1")
    assert response.json()["code"] == with_id.json()["code"] == 4823
    assert (await registry.replace(citizen["personNumber"], x_requestid="r1")).status_code == 200


async def test_who_only_decides_about_a_cv_keeps_nobody_from_replacing_it(
    registry: RegistryClient, database: Database
) -> None:
    """Else a repeated request, let in before the first has ended its transaction, is told that another replace runs."""
    citizen = await with_cv(registry)
    store = CvStore(database, Outbox())
    another = CvStore(database, Outbox())
    number = citizen["personNumber"]
    decided = await asyncio.gather(*(one.for_replacing(number) for one in (store, another) * 5))
    assert [cv is not None and cv.free for cv in decided] == [True] * 10
    assert (await registry.replace(number)).status_code == 200
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
    assert await database.fetchval(held) == 0


async def test_a_lock_hides_no_fault_that_comes_before_it(
    registry: RegistryClient, database: Database
) -> None:
    citizen = await with_cv(registry, "ARCHIVED")
    number = citizen["personNumber"]
    async with database.write(CvStore.lock(number)):
        assert (await registry.replace(number)).json()["code"] == 4753
        assert (await registry.replace(number, x_requestid="r1")).json()["code"] == 4753


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("2026-11-19T22:59:59+00:00", 9231),
        ("2026-11-19T23:00:00+00:00", None),
        ("2026-11-19T23:30:00+00:00", None),
        ("2026-11-25T22:59:59+00:00", None),
        ("2026-11-25T23:00:00+00:00", 9230),
        ("2026-11-25T23:30:00+00:00", 9230),
    ],
)
async def test_the_asylum_window_opens_and_closes_at_danish_midnight(
    registry: RegistryClient, clock: SettableClock, moment: str, code: int | None
) -> None:
    citizen = await in_window(registry)
    clock.now = datetime.fromisoformat(moment)
    response = await registry.replace(citizen["personNumber"], caller=AT_THE_JOBCENTER)
    assert response.json().get("code") == code


async def test_a_jobcenter_without_dates_is_9231_and_without_the_group_9232(registry: RegistryClient) -> None:
    no_dates, wrong_group = a_citizen(), a_citizen(contactGroup=2)
    no_group = a_citizen(contactGroup=None)
    await registry.register(no_dates, wrong_group, no_group)
    codes = [
        (await registry.replace(c["personNumber"], caller=AT_THE_JOBCENTER)).json()["code"]
        for c in (no_dates, wrong_group, no_group)
    ]
    assert codes == [9231, 9232, 9232]


async def test_jobnet_needs_no_window_and_no_group(registry: RegistryClient) -> None:
    citizen = a_citizen(contactGroup=2, relations=[])
    await registry.register(citizen)
    assert (await registry.replace(citizen["personNumber"], caller=a_caller(JOBNET))).status_code == 200


@pytest.mark.parametrize(
    ("path", "value", "element"),
    [
        (
            "JobTargetCollection.0.OccupationTaxonomyReference",
            2_000_000_000,
            "JobTargetCollection[0].OccupationTaxonomyReference",
        ),
        (
            "CV.QualificationCollection.0.QualificationTaxonomyReference",
            2_000_000_000,
            "CV.QualificationCollection[0].QualificationTaxonomyReference",
        ),
    ],
)
async def test_what_cannot_be_saved_is_9233_naming_the_element_and_nothing_is_half_saved(
    registry: RegistryClient, database: Database, path: str, value: Any, element: str
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    response = await registry.replace(citizen["personNumber"], changed(path, value))
    assert (response.status_code, response.json()["code"]) == (422, 9233)
    assert [error["element"] for error in response.json()["errors"]] == [element]
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 0


@pytest.mark.parametrize("contact", [{}, {"PhoneNumber": []}, {"E-mail": None}])
async def test_empty_contact_information_is_accepted(
    registry: RegistryClient, contact: dict[str, Any]
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    assert (
        await registry.replace(citizen["personNumber"], a_cv(ContactInformation=contact))
    ).status_code == 200


async def test_the_earlier_of_two_faults_wins(registry: RegistryClient, clock: SettableClock) -> None:
    """Down the order of the specification: each call has all faults from its own onwards."""
    number = a_person_number()
    unknown_reference = changed("JobTargetCollection.0.OccupationTaxonomyReference", 2_000_000_000)
    broken = b"{}"
    foreign, stranger = a_caller(STAR), a_caller(OTHER_JOBCENTER)
    late = "2027-01-01T12:00:00+00:00"

    async def code(body: Any = unknown_reference, **more: Any) -> int:
        return int((await registry.replace(number, body, if_match='"1"', **more)).json().get("code", 0))

    assert await code(broken, caller=foreign) == 1014
    assert await code(caller=foreign) == 8292
    assert await code(caller=stranger) == 4103
    citizen = a_citizen(personNumber=number, contactGroup=2)
    (ids,) = await registry.register(citizen)
    assert (await registry.replace(number)).status_code == 200
    await registry.move(ids["cvId"], "ARCHIVED")
    withdrawn = {**citizen, "cvNumberWithdrawn": True, "dead": True}
    await registry.register({**withdrawn, "sourceVersion": 2})
    assert await code(caller=stranger) == 6005
    assert await code(caller=AT_THE_JOBCENTER) == 4103
    await registry.register({**citizen, "sourceVersion": 3, "dead": True, "cvNumber": "45678901"})
    assert await code(caller=AT_THE_JOBCENTER) == 4405
    await registry.register({**citizen, "sourceVersion": 4, "cvNumber": "45678901"})
    assert await code(caller=AT_THE_JOBCENTER) == 4753
    await registry.move(ids["cvId"], "ACTIVE")
    clock.now = datetime.fromisoformat(late).astimezone(UTC)
    assert await code(caller=AT_THE_JOBCENTER) == 9232
    await registry.register({**citizen, "sourceVersion": 5, "cvNumber": "45678901", "contactGroup": 3})
    assert await code(caller=AT_THE_JOBCENTER) == 9231
    assert await code() == 9233
    assert (await registry.replace(number, if_match='"1"')).status_code == 412


async def test_if_match_refuses_a_replace_of_something_newer(registry: RegistryClient) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    number = citizen["personNumber"]
    assert (await registry.replace(number, if_match="*")).status_code == 412
    first = (await registry.replace(number)).headers["etag"]
    assert (await registry.get(number)).headers["etag"] == first
    second = (await registry.replace(number, if_match=first)).headers["etag"]
    assert second != first
    assert (await registry.replace(number, if_match=first)).status_code == 412
    assert (await registry.replace(number, if_match="*")).status_code == 200


async def test_the_longest_profile_can_be_answered(registry: RegistryClient) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    body = changed("CV.ProfessionalSummaryText", {"HTMLText": "&" * (HTML_TEXT_MAX // 5)})
    assert (await registry.replace(citizen["personNumber"], body)).status_code == 200
    GetCVResponse.from_json((await registry.get(citizen["personNumber"])).content)


async def test_html_is_sanitised_and_plain_text_derived(registry: RegistryClient) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    html = '<p onclick="x()">Hej <b>verden</b><script>alert(1)</script></p><h1>Slut</h1>'
    body = changed("CV.ProfessionalSummaryText", {"HTMLText": html})
    assert (await registry.replace(citizen["personNumber"], body)).status_code == 200
    shown = (await registry.get(citizen["personNumber"])).json()
    assert shown["CVProfile"]["CV"]["ProfessionalSummaryText"] == {
        "HTMLText": "<p>Hej <b>verden</b></p>Slut",
        "PlainText": "Hej verden\nSlut",
    }


async def test_only_the_gateway_may_forward_and_only_for_a_caller(registry: RegistryClient) -> None:
    assert (await registry.replace(a_person_number(), service="operator")).json()["code"] == 1013
    assert (await registry.call("PUT", "/v6/Cv", a_cv(), service="stranger")).json()["code"] == 1013
    bare = await registry.http.put("/v6/Cv", content=b"{}")
    assert (bare.status_code, bare.json()["code"]) == (401, 1012)


def test_the_relations_of_a_test_citizen_are_those_of_the_callers() -> None:
    assert relation(JOBCENTER) in a_citizen()["relations"]
