"""Two persons who are one: what stays, what others are told, what comes late."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from cv_citizens.testing import (
    JOBCENTER,
    MUNICIPALITY,
    a_caller,
)
from cv_contracts.codelists import default
from cv_registry.merging import Merging, PersonMerger
from cv_registry.store_citizens import CitizenStore
from cv_registry.store_cvs import CvStore
from cv_registry.store_merges import MergeStore
from cv_registry.testing import (
    RegistryClient,
    SettableClock,
    a_citizen,
    a_cv,
    a_person_number,
    changes_of,
)
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox

pytestmark = pytest.mark.infra


async def merge(registry: RegistryClient, survivor: str, merged: str) -> dict[str, Any]:
    body = {"personNumber": survivor, "mergedPersonNumber": merged, "reason": "one person", "by": "intake"}
    answer = await registry.call(
        "POST", "/internal/citizens/merge", body, service="citizen-intake", content_type="application/json"
    )
    found: dict[str, Any] = answer.json()
    return found


async def two(registry: RegistryClient, *, with_cv: tuple[bool, bool]) -> list[dict[str, Any]]:
    """Give two citizens, the first of whom is to stay, with their ids."""
    people = [a_citizen(), a_citizen()]
    ids = await registry.register(*people)
    for person, has_cv in zip(people, with_cv, strict=True):
        if has_cv:
            assert (await registry.replace(person["personNumber"])).status_code == 200
    return [{**person, **one} for person, one in zip(people, ids, strict=True)]


async def test_the_survivor_keeps_everything_and_the_other_is_nobodys_any_more(
    registry: RegistryClient, database: Database
) -> None:
    survivor, merged = await two(registry, with_cv=(True, True))
    before = (await registry.get(survivor["personNumber"])).json()
    answer = await merge(registry, survivor["personNumber"], merged["personNumber"])
    assert answer == {
        "outcome": "applied",
        "personId": survivor["personId"],
        "mergedPersonId": merged["personId"],
    }
    assert (await registry.get(survivor["personNumber"])).json() == before
    assert (await registry.get(merged["personNumber"])).json()["code"] == 4103
    for organisation in (MUNICIPALITY, JOBCENTER):
        refused = await registry.get(merged["personNumber"], caller=a_caller(organisation))
        assert refused.json()["code"] == 4575
    assert (await registry.by_number(merged["cvNumber"])).json()["code"] == 4103
    assert await changes_of(database, merged["personId"]) == ["registered", "changed"]
    assert await changes_of(database, merged["cvId"]) == ["created", "deleted"]
    assert await changes_of(database, survivor["cvId"]) == ["created"]


async def test_who_has_no_cv_takes_over_the_others(registry: RegistryClient, database: Database) -> None:
    survivor, merged = await two(registry, with_cv=(False, True))
    content = (await registry.get(merged["personNumber"])).json()["CVProfile"]["CV"]
    await merge(registry, survivor["personNumber"], merged["personNumber"])
    assert (await registry.get(survivor["personNumber"])).json()["CVProfile"]["CV"] == content
    assert await changes_of(database, survivor["cvId"]) == ["created"]
    assert await changes_of(database, merged["cvId"]) == ["created", "deleted"]
    assert (await registry.replace(survivor["personNumber"], a_cv())).status_code == 200


DATES = {"AsylumCVTransitionDate": "2026-11-20", "CVEditEndDate": "2026-12-20"}
MOVED = {
    "AsylumCVTransitionDate": "2026-11-19",
    "CVEditEndDate": "2026-12-19",
    "CorrectionComment": "flyttet",
}


async def dates_of(database: Database, person: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    rows = await database.fetch(
        "SELECT transition_date, edit_end_date, correction_comment FROM asylum_transitions WHERE person_id = $1"
        " ORDER BY version",
        UUID(person["personId"]),
    )
    return [(str(row[0]), str(row[1]), row[2]) for row in rows]


async def test_who_has_no_asylum_dates_takes_over_those_that_count_for_the_other(
    registry: RegistryClient, database: Database
) -> None:
    survivor, merged = await two(registry, with_cv=(True, True))
    by = a_caller(JOBCENTER)
    for verb, dates in (("POST", DATES), ("PUT", MOVED)):
        assert (await registry.asylum(verb, merged["personNumber"], dates, caller=by)).status_code == 200
    assert (await registry.replace(survivor["personNumber"], caller=by)).json()["code"] == 9231
    await merge(registry, survivor["personNumber"], merged["personNumber"])
    assert await dates_of(database, survivor) == [tuple(MOVED.values())]
    assert await changes_of(database, survivor["personId"]) == ["registered", "created"]
    assert (await registry.replace(survivor["personNumber"], caller=by)).status_code == 200
    assert (await registry.asylum("PUT", survivor["personNumber"], MOVED, caller=by)).status_code == 200


PASSED = {"AsylumCVTransitionDate": "2025-11-20", "CVEditEndDate": "2025-12-20"}
LAST_DAY = {"AsylumCVTransitionDate": "2026-11-20", "CVEditEndDate": "2026-11-22"}


async def test_who_has_asylum_dates_keeps_them_until_they_have_passed(
    registry: RegistryClient, database: Database
) -> None:
    told = []
    for own, other in ((LAST_DAY, DATES), (PASSED, LAST_DAY), (PASSED, PASSED), (None, PASSED)):
        survivor, merged = await two(registry, with_cv=(True, True))
        by = a_caller(JOBCENTER)
        for person, dates in ((survivor, own), (merged, other)):
            if dates is not None:
                answer = await registry.asylum("POST", person["personNumber"], dates, caller=by)
                assert answer.status_code == 200
        await merge(registry, survivor["personNumber"], merged["personNumber"])
        ends = [end for _, end, _ in await dates_of(database, survivor)]
        changes = (await changes_of(database, survivor["personId"]))[1:]
        code = (await registry.replace(survivor["personNumber"], caller=by)).json().get("code")
        told.append((ends, changes, code))
    assert told == [
        (["2026-11-22"], ["created"], None),
        (["2025-12-20", "2026-11-22"], ["created", "updated"], None),
        (["2025-12-20"], ["created"], 9230),
        ([], [], 9231),
    ]


@pytest.mark.parametrize(
    ("moment", "taken_over"), [("2026-12-20T22:59:59+00:00", True), ("2026-12-20T23:00:00+00:00", False)]
)
async def test_asylum_dates_are_taken_over_up_to_their_last_danish_day(
    registry: RegistryClient, clock: SettableClock, database: Database, moment: str, *, taken_over: bool
) -> None:
    survivor, merged = await two(registry, with_cv=(True, True))
    by = a_caller(JOBCENTER)
    assert (await registry.asylum("POST", merged["personNumber"], DATES, caller=by)).status_code == 200
    clock.now = datetime.fromisoformat(moment)
    await merge(registry, survivor["personNumber"], merged["personNumber"])
    assert bool(await dates_of(database, survivor)) == taken_over


async def test_only_the_others_newest_asylum_dates_are_taken_over_and_come_after_the_survivors(
    registry: RegistryClient, database: Database
) -> None:
    shortened = {**DATES, "CVEditEndDate": "2026-11-21"}
    by = a_caller(JOBCENTER)
    for last, expected in ((shortened, 9230), (DATES, None)):
        survivor, merged = await two(registry, with_cv=(True, True))
        for verb, person, dates in (
            ("POST", survivor, PASSED),
            ("POST", merged, DATES),
            ("PUT", merged, last),
        ):
            answer = await registry.asylum(verb, person["personNumber"], dates, caller=by)
            assert answer.status_code == 200
        ahead = "UPDATE asylum_transitions SET version = 8000000000000000 WHERE person_id = $1"
        await database.execute(ahead, UUID(survivor["personId"]))
        await merge(registry, survivor["personNumber"], merged["personNumber"])
        answer = await registry.replace(survivor["personNumber"], caller=by)
        assert answer.json().get("code") == expected


async def test_the_source_may_go_on_to_tell_the_merged_number_as_a_former_one_of_the_survivor(
    registry: RegistryClient,
) -> None:
    people = [a_citizen(), a_citizen(), a_citizen()]
    survivor, merged, another = people
    ids, *_ = await registry.register(*people)
    told = {**survivor, "formerPersonNumber": merged["personNumber"], "givenName": "Renummereret"}
    (refused,) = await registry.intake({**told, "sourceVersion": 2})
    assert refused["errors"][0]["element"] == "formerPersonNumber"
    await merge(registry, survivor["personNumber"], merged["personNumber"])
    (taken,) = await registry.intake({**told, "sourceVersion": 3})
    assert (taken["outcome"], taken["personId"]) == ("applied", ids["personId"])
    (refused,) = await registry.intake(
        {**another, "sourceVersion": 2, "formerPersonNumber": merged["personNumber"]}
    )
    assert refused["outcome"] == "refused"


def renumbered(citizen: dict[str, Any], former: dict[str, Any], source_version: int) -> dict[str, Any]:
    """Give a citizen as one who had the other's number before."""
    return {**citizen, "formerPersonNumber": former["personNumber"], "sourceVersion": source_version}


async def overtaken(registry: RegistryClient) -> list[dict[str, Any]]:
    """Give three numbers of one person, of whom the first and the last became two persons, and then one again."""
    first, second, third = a_citizen(), a_citizen(), a_citizen()
    await registry.register(first, renumbered(third, second, 3))
    (refused,) = await registry.intake(renumbered(second, first, 2))
    assert refused["errors"][0]["element"] == "personNumber"
    await merge(registry, third["personNumber"], first["personNumber"])
    return [first, second, third]


async def test_a_renumbering_that_was_refused_is_late_once_the_two_were_merged(
    registry: RegistryClient,
) -> None:
    first, second, third = await overtaken(registry)
    (known,) = await registry.register(renumbered(third, second, 3))
    (late,) = await registry.intake(renumbered(second, first, 2))
    assert late == {**known, "outcome": "stale"}


async def test_a_survivor_is_renumbered_by_the_number_of_the_merged_one_too(
    registry: RegistryClient, database: Database
) -> None:
    first, second, third = await overtaken(registry)
    (known,) = await registry.register(renumbered(third, second, 3))
    fourth = a_citizen()
    (late,) = await registry.intake(renumbered(fourth, first, 2))
    async with database.write(CitizenStore.lock(third["personNumber"])):
        renumbering = asyncio.create_task(registry.intake(renumbered(fourth, first, 4)))
        _, waiting = await asyncio.wait({renumbering}, timeout=0.5)
        assert waiting == {renumbering}
    (taken,) = await renumbering
    assert (late["outcome"], late["personId"]) == ("stale", known["personId"])
    assert (taken["outcome"], taken["personId"]) == ("applied", known["personId"])
    (refused,) = await registry.intake({**first, "sourceVersion": 5})
    assert refused["errors"][0]["reason"] == "is of a person who was merged into another"


async def test_whoever_was_merged_into_one_who_was_merged_again_is_the_last_one(
    registry: RegistryClient,
) -> None:
    people = [a_citizen(), a_citizen(), a_citizen()]
    first, second, third = people
    *_, known = await registry.register(*people)
    await merge(registry, second["personNumber"], first["personNumber"])
    await merge(registry, third["personNumber"], second["personNumber"])
    (known_again,) = await registry.intake(renumbered({**third, "givenName": "Renummereret"}, first, 2))
    (taken,) = await registry.intake(renumbered(a_citizen(), first, 3))
    assert [known_again["outcome"], taken["outcome"]] == ["applied"] * 2
    assert {known_again["personId"], taken["personId"]} == {known["personId"]}


async def test_a_merger_told_again_and_deliveries_about_the_merged_person_change_nothing(
    registry: RegistryClient, database: Database
) -> None:
    survivor, merged = await two(registry, with_cv=(True, False))
    numbers = survivor["personNumber"], merged["personNumber"]
    told = "SELECT count(*) FROM outbox WHERE partition IS NULL"
    await merge(registry, *numbers)
    count = await database.fetchval(told)
    assert (await merge(registry, *numbers))["outcome"] == "unchanged"
    raw = {name: merged[name] for name in a_citizen() if name != "cvNumber"}
    for source_version in (1, 9):
        (late,) = await registry.intake({**raw, "sourceVersion": source_version})
        assert late["outcome"] == "refused"
    assert await database.fetchval(told) == count
    third = a_citizen()
    await registry.register(third)
    assert (await merge(registry, third["personNumber"], numbers[1]))["code"] == 1014
    assert (await merge(registry, numbers[1], third["personNumber"]))["code"] == 1014
    assert (await merge(registry, numbers[0], a_person_number()))["code"] == 1014
    assert (await merge(registry, numbers[0], numbers[0]))["code"] == 1014


async def test_a_merger_that_a_replace_overtakes_closes_the_cv_that_there_is_then(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    survivor, merged = await two(registry, with_cv=(False, True))
    ahead = await database.fetchval("SELECT version FROM cvs") + 3_600_000_000

    class Overtaken(MergeStore):
        async def persons(self, *asked: Any) -> Any:
            found = await super().persons(*asked)
            await database.execute("UPDATE cvs SET version = $1 WHERE version < $1", ahead)
            return found

    outbox = Outbox()
    merging = Merging(Overtaken(database, outbox), CvStore(database, outbox), default(), clock)
    merger = PersonMerger(survivor["personNumber"], merged["personNumber"], "one person", "intake")
    assert (await merging.persons(merger)).applied
    deleted = await database.fetchval("SELECT version FROM cvs WHERE state = 'DELETED'")
    assert deleted == ahead + 1
    assert await changes_of(database, survivor["cvId"]) == ["created"]
    assert await changes_of(database, merged["cvId"]) == ["created", "deleted"]


async def test_an_erasure_is_told_whom_else_there_is_of_the_person(registry: RegistryClient) -> None:
    survivor, merged = await two(registry, with_cv=(True, True))
    await merge(registry, survivor["personNumber"], merged["personNumber"])

    async def found(person: dict[str, Any]) -> dict[str, Any]:
        body = {"personNumber": person["personNumber"]}
        answer = await registry.call(
            "POST", "/internal/erasures/find", body, service="operator", content_type="application/json"
        )
        return dict(answer.json())

    assert (await found(survivor))["merged"] == [merged["personId"]]
    body = {
        "personId": merged["personId"],
        "cvId": merged["cvId"],
        "why": {"who": "operator", "reason": "asked for"},
    }
    await registry.call(
        "POST", "/internal/erasures", body, service="operator", content_type="application/json"
    )
    assert "merged" not in await found(survivor)
