"""Two persons who are one, and municipalities that become one: all services agree afterwards, access follows, the feed tells it."""

import asyncio
import os
from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from itertools import count
from uuid import UUID, uuid4

import httpx
import pytest
from tests.e2e.caller import Caller, Json, cv_saying, fault
from tests.e2e.contacts import MAIL, save
from tests.e2e.followers import FEED, position
from tests.e2e.intake import deliver
from tests.e2e.searches import numbers
from tests.e2e.system import REGISTRY, System

from cv_citizens.danish_time import danish_today
from cvhub.operator import Calls, place
from cvhub.people import SEED
from cvhub.services import SERVICES
from cvhub.synthetic import SyntheticCitizen, citizens
from servicekit.testing import eventually

pytestmark = pytest.mark.timeout(300)

PATIENCE = timedelta(seconds=30)
ONE_TOWN = "810"
FORMER, INTO = "492", "482"
LATER_FORMER, LATER_INTO = "741", "615"
"""Towns in which nobody else's test has citizens."""
NO_RELATION = (403, 4575)
_first = count(810_000, 100)
"""Index of the first of those whom a test may take; nobody else's test is about them."""
NO_MAIL_ADDRESS = "en anden"
"""Saved for nobody: who may act for the citizen is told that it is none, whoever may not is refused before."""


@pytest.fixture
def operator(system: System, monkeypatch: pytest.MonkeyPatch) -> Calls:
    for name, value in system.operator_environment().items():
        monkeypatch.setenv(name, value)
    return Calls(place())


async def living_in(town: str, word: str, system: System, caller: Caller) -> list[SyntheticCitizen]:
    """Take in two citizens of a town, with CVs that a search finds by a word of theirs."""
    people = [
        one
        for one in citizens(SEED, 100, start=next(_first))
        if one.cv_state == "ACTIVE"
        and one.cv
        and one.cv["CV"]["PreviousJobExperienceCollection"]
        and not any(map(one.citizen.get, ("dead", "nameProtected", "addressProtected")))
    ][:2]
    for one in people:
        relations = [
            {"organisationType": kind, "organisationCode": code, "from": "2026-01-01"}
            for kind, code in ((7, town), (8, f"{town}00"))
        ]
        await deliver(system, caller.http, {**one.citizen, "relations": relations})
        saved = await caller.replace_cv(one.person_number, cv_saying(f"<p>{word}</p>", one))
        assert saved.status_code == 200, saved.text
    await eventually(partial(are_found, caller, word, people), PATIENCE)
    await eventually(partial(are_in_the_feed, system, people), PATIENCE)
    return people


async def are_found(caller: Caller, word: str, people: Sequence[SyntheticCitizen]) -> None:
    assert sorted(await numbers(caller, word)) == sorted(one.cv_number for one in people)


async def subjects(system: System, people: Sequence[SyntheticCitizen]) -> set[UUID]:
    """Give what events about these citizens are about: each as a person, and each one's CV."""
    rows = await system.rows(
        "select person_id, cv_id from citizens where person_number = any($1)",
        [one.person_number for one in people],
    )
    found = {subject for row in rows for subject in row}
    assert len(found) == 2 * len(people)
    return found


async def are_in_the_feed(system: System, people: Sequence[SyntheticCitizen]) -> None:
    """Check that the feed has told of the citizens and of their CVs, so that nothing of it comes after its end."""
    ours = await subjects(system, people)
    told = "select distinct subject from entries where subject = any($1)"
    assert {row["subject"] for row in await system.rows(told, list(ours), service=FEED)} == ours


async def cv_id(system: System, one: SyntheticCitizen) -> UUID:
    [row] = await system.rows("select cv_id from citizens where person_number = $1", one.person_number)
    return UUID(str(row["cv_id"]))


async def is_told(caller: Caller, after: str, events: set[tuple[str, str]]) -> None:
    """Check that the feed tells this caller these kinds of events of these CVs since then, and nothing else."""
    answer = await caller.call("GET", f"/v1/feed/cv?lastEventId={after}")
    assert answer.status_code == 200, answer.text
    assert {(_kind(event), event["subject"]) for event in answer.json()} == events


def _kind(event: Json) -> str:
    return f"{event['type'].split('.')[3]}.{event['data']['change']}"


async def may_see_status(caller: Caller, one: SyntheticCitizen, expected: int) -> None:
    answer = await caller.call("GET", "/v6/Cv/cvstatus", one.person_number)
    assert answer.status_code == expected, answer.text


async def contact_data_are_refused(caller: Caller, one: SyntheticCitizen, mail: str) -> None:
    assert fault(await save(caller, one, {MAIL: mail})) == NO_RELATION


def differing(operator: Calls) -> list[Json]:
    """Compare every copy of the registry's subjects with the registry, as an operator does; give what differs, and where."""
    found: list[Json] = []
    for service in (one.name for one in SERVICES if one.migrations):
        rows = operator("GET", service, "/internal/operations/projections").json()["projections"]
        for row in rows:
            path = f"/internal/operations/projections/{row['name']}/verify"
            answer = operator("POST", service, path)
            if answer.status_code != httpx.codes.NOT_FOUND:
                found += _of(f"{service} {row['name']}", answer)
    return found + _of(FEED, operator("POST", FEED, "/internal/operations/feed/verify-owners"))


def _of(copy: str, answer: httpx.Response) -> list[Json]:
    return [{"copy": copy, **one} for one in answer.raise_for_status().json()["differences"]]


async def agree_on(system: System, operator: Calls, people: Sequence[SyntheticCitizen]) -> None:
    ours = {str(subject) for subject in await subjects(system, people)}

    async def nobody_differs() -> None:
        differences = await asyncio.to_thread(differing, operator)
        assert [one for one in differences if one["subject"] in ours] == []

    await eventually(nobody_differs, PATIENCE)


async def test_of_two_persons_who_are_one_the_survivor_stays_and_the_other_is_nobodys(
    system: System, caller: Caller, operator: Calls
) -> None:
    word = f"tvillingeord{uuid4().hex}"
    people = stays, goes = await living_in(ONE_TOWN, word, system, caller)
    town, center = caller.acting(f"7:{ONE_TOWN}"), caller.acting(f"8:{ONE_TOWN}00")
    await eventually(partial(may_see_status, center, goes, 200), PATIENCE)
    before, everyones = await position(town), await position(caller)
    intake = system.signer("citizen-intake").token(REGISTRY, None)
    merged = await caller.http.post(
        f"{system.url(REGISTRY)}/internal/citizens/merge",
        json={
            "personNumber": stays.person_number,
            "mergedPersonNumber": goes.person_number,
            "reason": "én person",
            "by": "kilden",
        },
        headers={"authorization": f"Bearer {intake}"},
    )
    assert merged.json()["outcome"] == "applied", merged.text
    assert (await town.get_cv(stays.person_number)).status_code == 200
    assert fault(await town.get_cv(goes.person_number)) == NO_RELATION
    assert fault(await caller.get_cv(goes.person_number)) == (404, 4103)
    assert fault(await caller.by_number(goes.cv_number)) == (404, 4103)
    await eventually(partial(are_found, center, word, [stays]), PATIENCE)
    await eventually(partial(may_see_status, center, goes, 403), PATIENCE)
    await may_see_status(center, stays, 200)

    await eventually(partial(contact_data_are_refused, center, goes, NO_MAIL_ADDRESS), PATIENCE)
    await contact_data_are_refused(center, goes, "en.anden@example.com")
    gone = str(await cv_id(system, goes))
    await eventually(partial(is_told, town, before, {("citizen-handed-over.left", gone)}), PATIENCE)
    kinds = ("cv-changed.deleted", "citizen-changed.changed", "citizen-handed-over.handed-over")
    told = {(kind, gone) for kind in kinds}
    await eventually(partial(is_told, caller, everyones, told), PATIENCE)
    await agree_on(system, operator, people)


async def merge(system: System, former: str, into: str, day: date) -> str:
    """Merge a municipality into another as an operator does, beside the registry that serves; gives what is told."""
    registry = next(service for service in SERVICES if service.name == REGISTRY)
    process = await asyncio.create_subprocess_exec(
        *registry.command,
        *("merge-municipality", former, into, day.isoformat()),
        env={**os.environ, **system.stack.environment(registry)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().strip().splitlines()[-1]


async def test_from_its_day_on_a_merged_municipality_is_the_other_in_every_service(
    system: System, caller: Caller, operator: Calls
) -> None:
    word = f"ærøord{uuid4().hex}"
    people = await living_in(FORMER, word, system, caller)
    old, new = caller.acting(f"7:{FORMER}"), caller.acting(f"7:{INTO}")
    old_center, new_center = caller.acting(f"8:{FORMER}00"), caller.acting(f"8:{INTO}00")
    await eventually(partial(may_see_status, old_center, people[0], 200), PATIENCE)
    lost, got = await position(old), await position(new)
    today = danish_today()
    assert await merge(system, FORMER, INTO, today) == f"2 citizens move from {FORMER} to {INTO} on {today}"
    for one in people:
        assert fault(await old.get_cv(one.person_number)) == NO_RELATION
        shown = await new.get_cv(one.person_number)
        assert shown.json()["Municipality"]["MunicipalityCode"] == INTO, shown.text
        await eventually(partial(may_see_status, old_center, one, 403), PATIENCE)
        await eventually(partial(may_see_status, new_center, one, 200), PATIENCE)
    ids = [str(await cv_id(system, one)) for one in people]
    left = {("citizen-handed-over.left", one) for one in ids}
    came = {(kind, one) for one in ids for kind in ("citizen-handed-over.came", "citizen-changed.changed")}
    await eventually(partial(is_told, old, lost, left), PATIENCE)
    await eventually(partial(is_told, new, got, came), PATIENCE)
    await eventually(partial(are_found, new_center, word, people), PATIENCE)
    await agree_on(system, operator, people)


async def test_until_its_day_a_municipality_that_will_be_merged_keeps_its_citizens(
    system: System, caller: Caller, operator: Calls
) -> None:
    people = await living_in(LATER_FORMER, f"samsøord{uuid4().hex}", system, caller)
    old, new = caller.acting(f"7:{LATER_FORMER}"), caller.acting(f"7:{LATER_INTO}")
    tomorrow = danish_today() + timedelta(days=1)
    before = await position(new)
    told = await merge(system, LATER_FORMER, LATER_INTO, tomorrow)
    assert told == f"2 citizens move from {LATER_FORMER} to {LATER_INTO} on {tomorrow}"
    await agree_on(system, operator, people)
    for one in people:
        assert (await old.get_cv(one.person_number)).status_code == 200
        assert fault(await new.get_cv(one.person_number)) == NO_RELATION
        due = "select next_day from cvs where cv_id = $1"
        assert await system.value(due, await cv_id(system, one), service=FEED) == tomorrow
    await is_told(new, before, set())
