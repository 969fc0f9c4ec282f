"""GetPersonByMobilePhoneNumber and GetPersonByEmailAddress."""

import time
from statistics import median

import pytest
from structlog.testing import capture_logs

from contact_verification.testing import CASE_WORKER, EMAIL, LANDLINE, MOBILE, World
from cv_citizens.testing import (
    ACTOR,
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_ACTOR,
    OTHER_MUNICIPALITY,
    STAR,
    a_caller,
    referral,
    relation,
)
from cv_contracts.wire.contact import GetPersonResponse
from servicekit.caller import Organisation
from servicekit.follow.states import Erased

pytestmark = pytest.mark.infra


async def numbers(world: World, by: Organisation, value: str) -> list[str]:
    answer = await world.find(a_caller(by), value)
    assert answer.status_code == 200
    return [
        one.civilregistrationIdentifier for one in GetPersonResponse.from_json(answer.content).CprCollection
    ]


async def test_who_has_it_now_has_a_start_and_no_end(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
    for value in (person.mobile, person.mail):
        [found] = (await world.find(CASE_WORKER, value)).json()["CprCollection"]
        assert found["civilregistrationIdentifier"] == person.person_number
        assert found["RegistrationStartDate"].endswith("Z")
        assert "RegistrationEndDate" not in found


async def test_spellings_of_one_value_are_one(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {MOBILE: "20 12 34 56", EMAIL: "Navn@Example.com"})
    for value in (
        "+4520123456",
        "+45 20 12 34 56",
        "+45 (20) 12-34-56",
        "navn@EXAMPLE.COM",
        "Navn@example.com",
    ):
        assert await numbers(world, MUNICIPALITY, value) == [person.person_number]


@pytest.mark.parametrize(
    "written",
    [
        "+(45)20123456",
        " +4520123456",
        "+45 20 12 34 56\n",
        "+45.20-12/34(56)",
        "+(0045)20123456",
        " " * 200 + "+4520123456",
    ],
)
async def test_a_number_is_found_as_it_was_saved(world: World, written: str) -> None:
    person = await world.resident()
    assert (await world.save(CASE_WORKER, person, {MOBILE: written})).status_code == 200
    answer = await world.post(CASE_WORKER, "/mobiltelefon", {"mobiltelefon": written})
    found = GetPersonResponse.from_json(answer.content).CprCollection
    assert [one.civilregistrationIdentifier for one in found] == [person.person_number]


async def test_two_domains_are_two_and_each_is_one_however_it_is_written(world: World) -> None:
    written = ["jens@straße.dk", "jens@strasse.dk", "jens@århus.dk"]
    people = [await world.resident() for _ in written]
    for person, mail in zip(people, written, strict=True):
        await world.save(CASE_WORKER, person, {EMAIL: mail})
    for spellings, person in zip(
        (
            ("jens@straße.dk", "Jens@STRAẞE.DK", "jens@xn--strae-oqa.dk"),
            ("jens@strasse.dk", "jens@STRASSE.dk"),
            ("JENS@ÅRHUS.DK", "jens@xn--rhus-poa.dk", "jens@a\u030arhus.dk"),
        ),
        people,
        strict=True,
    ):
        for value in spellings:
            assert await numbers(world, MUNICIPALITY, value) == [person.person_number]


async def test_who_had_it_is_answered_with_the_period(world: World) -> None:
    first, second = [await world.resident() for _ in range(2)]
    await world.save(CASE_WORKER, first, {EMAIL: "shared@example.com"})
    await world.save(CASE_WORKER, first, {EMAIL: None})
    await world.save(CASE_WORKER, second, {EMAIL: "shared@example.com"})
    await world.save(CASE_WORKER, first, {EMAIL: "shared@example.com"})
    found = (await world.find(CASE_WORKER, "shared@example.com")).json()["CprCollection"]
    assert [one["civilregistrationIdentifier"] for one in found] == [
        first.person_number,
        second.person_number,
        first.person_number,
    ]
    ends = ["RegistrationEndDate" in one for one in found]
    assert ends == [True, False, False]
    assert found[0]["RegistrationStartDate"] < found[0]["RegistrationEndDate"]


async def test_nobody_is_200_and_empty(world: World) -> None:
    for value in ("+4520000000", "+4512345678", "nobody@example.com", "@example.com", "a..b@x"):
        answer = await world.find(CASE_WORKER, value)
        assert (answer.status_code, answer.json()) == (200, {"CprCollection": []})


async def test_a_landline_is_not_found_as_a_mobile_number(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {LANDLINE: person.landline})
    assert await numbers(world, MUNICIPALITY, person.landline) == []


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("needs its prefix, beginning with +", ("20123456", "004520123456", " 4520123456", "", "mobil")),
        ("is not a phone number", ("+", "+4", "+45\n20123456", " +mobil")),
    ],
)
async def test_a_number_without_its_prefix_is_1014(
    world: World, reason: str, values: tuple[str, ...]
) -> None:
    told = {}
    for value in values:
        answer = await world.post(CASE_WORKER, "/mobiltelefon", {"mobiltelefon": value})
        told[value] = (answer.status_code, answer.json().get("code"), answer.json().get("errors"))
    errors = [{"element": "mobiltelefon", "reason": reason}]
    assert told == dict.fromkeys(told, (400, 1014, errors))


async def test_an_address_that_the_seed_does_not_admit_is_1014(world: World) -> None:
    told = {}
    for value in ("nobody", "a b@example.com", "a@b@c.dk", "<a>@b.dk", "x" * 192 + "@b.dk", ""):
        answer = await world.post(CASE_WORKER, "/emailadresse", {"email": value})
        told[value] = (answer.status_code, answer.json().get("code"))
    assert told == dict.fromkeys(told, (400, 1014))


async def test_others_citizens_are_left_out_without_a_fault(world: World) -> None:
    mine = await world.citizen(relation(MUNICIPALITY), relation(FUND), referral(ACTOR, MUNICIPALITY))
    other = await world.citizen(relation(OTHER_MUNICIPALITY))
    for person in (mine, other):
        await world.save(a_caller(JOBNET), person, {EMAIL: "both@example.com"})
    both = [mine.person_number, other.person_number]
    expected = {
        MUNICIPALITY: both[:1],
        FUND: both[:1],
        JOBCENTER: [],
        OTHER_MUNICIPALITY: both[1:],
        STAR: both,
        JOBNET: both,
    }
    for by, found in expected.items():
        assert await numbers(world, by, "both@example.com") == found
    actor = await world.find(a_caller(MUNICIPALITY, ACTOR), "both@example.com")
    assert len(actor.json()["CprCollection"]) == 1
    stranger = await world.find(a_caller(MUNICIPALITY, OTHER_ACTOR), "both@example.com")
    assert stranger.json() == {"CprCollection": []}


async def test_companies_may_not_look_up(world: World) -> None:
    for value in ("a@example.com", "+4520123456"):
        answer = await world.find(a_caller(COMPANY), value)
        assert (answer.status_code, answer.json()["code"]) == (403, 8292)


async def test_each_person_answered_has_an_access_row_before_the_answer(world: World) -> None:
    people = [await world.resident() for _ in range(2)]
    hidden = await world.citizen(relation(OTHER_MUNICIPALITY))
    for person in (*people, hidden):
        await world.save(a_caller(JOBNET), person, {EMAIL: "both@example.com"})
    await world.find(CASE_WORKER, "both@example.com")
    rows = await world.database.fetch("select subject, method, active_code, user_identifier from access_log")
    assert {row["subject"] for row in rows} == {person.person_id for person in people}
    assert {tuple(row)[1:] for row in rows} == {("GetPersonByEmailAddress", "101", "sb1")}
    await world.find(CASE_WORKER, "nobody@example.com")
    assert await world.database.fetchval("select count(*) from access_log where subject is null") == 1


async def test_a_stale_replica_asks_the_registry(world: World) -> None:
    person = await world.resident(EMAIL)
    await world.heartbeat(60)
    await world.change(person, 2, replica=False, relations=[relation(OTHER_MUNICIPALITY)])
    assert await numbers(world, MUNICIPALITY, person.mail) == []
    assert await numbers(world, OTHER_MUNICIPALITY, person.mail) == [person.person_number]


async def test_without_replica_and_registry_it_is_503_and_never_a_guess(world: World) -> None:
    person = await world.resident(EMAIL)
    await world.heartbeat(60)
    for mode in ("error", "garbage", "slow"):
        world.registry.mode = mode
        with capture_logs() as told:
            answer = await world.find(CASE_WORKER, person.mail)
        assert (answer.status_code, answer.json()["code"]) == (503, 1011)
        assert "registry_gave_no_citizen" in [one["event"] for one in told]
        assert int(answer.headers["retry-after"]) > 0


STALE = {
    "every heartbeat is old": "update follow_positions set heartbeat_at = now() - interval '60 s'",
    "one heartbeat is old": "update follow_positions set heartbeat_at = now() - interval '60 s' where partition = 5",
    "a partition was never read": "delete from follow_positions where partition = 5",
    "somebody waits": "insert into pending_subjects (projection, subject, version, next_try, reason)"
    " values ('citizens', gen_random_uuid(), 1, 'infinity', 'fetch')",
}


@pytest.mark.parametrize("stale", STALE.values(), ids=STALE)
async def test_while_anybody_may_be_stale_and_the_registry_is_away_nobody_is_answered_as_somebody_is(
    world: World, stale: str
) -> None:
    await world.database.execute(stale)
    for value in ("nobody@example.com", "+4520000000"):
        assert await numbers(world, MUNICIPALITY, value) == []
    world.registry.mode = "error"
    for value in ("nobody@example.com", "+4520000000"):
        answer = await world.find(CASE_WORKER, value)
        assert (answer.status_code, answer.json()["code"]) == (503, 1011)
        assert int(answer.headers["retry-after"]) > 0


async def test_those_who_are_known_freshly_are_not_told_either_while_others_are_stale(world: World) -> None:
    person = await world.resident(EMAIL)
    await world.database.execute(STALE["somebody waits"])
    assert await numbers(world, MUNICIPALITY, person.mail) == [person.person_number]
    world.registry.mode = "error"
    assert (await world.find(CASE_WORKER, person.mail)).status_code == 503


async def test_a_fresh_replica_answers_without_the_registry(world: World) -> None:
    person = await world.resident(EMAIL)
    world.registry.mode = "error"
    assert await numbers(world, MUNICIPALITY, person.mail) == [person.person_number]
    assert await numbers(world, MUNICIPALITY, "nobody@example.com") == []


async def test_an_erased_person_is_nobody(world: World) -> None:
    person = await world.resident(EMAIL)
    await world.apply("citizens", Erased(person.person_id, 2))
    assert await numbers(world, JOBNET, person.mail) == []


async def test_found_and_not_found_take_about_the_same_time(world: World) -> None:
    person = await world.resident(EMAIL)
    times: dict[str, list[float]] = {person.mail: [], "nobody@example.com": []}
    for value in [*times] * 40:
        begun = time.perf_counter()
        await world.find(CASE_WORKER, value)
        times[value].append(time.perf_counter() - begun)
    known, unknown = (median(of) for of in times.values())
    assert max(known, unknown) < 1.6 * min(known, unknown)
