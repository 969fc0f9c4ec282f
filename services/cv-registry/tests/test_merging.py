"""Two persons who are one, and two municipalities that become one: what stays, what others are told, what comes late."""

import asyncio
import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from cv_citizens.citizen import Citizen
from cv_citizens.policy import Actor, decide
from cv_citizens.testing import (
    ACTOR,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_MUNICIPALITY,
    a_caller,
    referral,
    relation,
)
from cv_contracts.codelists import default
from cv_registry.closing import MunicipalityMerger, moved
from cv_registry.merge_municipality import run_merger
from cv_registry.merging import Merging, PersonMerger
from cv_registry.settings import SERVICE
from cv_registry.store_citizens import CitizenStore
from cv_registry.store_cvs import CvStore
from cv_registry.store_merges import MergeStore
from cv_registry.testing import (
    RegistryClient,
    SettableClock,
    a_citizen,
    a_cv,
    a_person_number,
    some_settings,
)
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox
from servicekit.settings import PostgresSettings
from servicekit.web.identity import Organisation
from servicekit.web.testing import Identities

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


async def changes(database: Database, subject: str) -> list[str]:
    rows = await database.fetch("SELECT payload FROM outbox WHERE aggregateid = $1 ORDER BY seq", subject)
    return [json.loads(row["payload"])["change"] for row in rows]


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
    assert await changes(database, merged["personId"]) == ["registered", "changed"]
    assert await changes(database, merged["cvId"]) == ["created", "deleted"]
    assert await changes(database, survivor["cvId"]) == ["created"]


async def test_who_has_no_cv_takes_over_the_others(registry: RegistryClient, database: Database) -> None:
    survivor, merged = await two(registry, with_cv=(False, True))
    content = (await registry.get(merged["personNumber"])).json()["CVProfile"]["CV"]
    await merge(registry, survivor["personNumber"], merged["personNumber"])
    assert (await registry.get(survivor["personNumber"])).json()["CVProfile"]["CV"] == content
    assert await changes(database, survivor["cvId"]) == ["created"]
    assert await changes(database, merged["cvId"]) == ["created", "deleted"]
    assert (await registry.replace(survivor["personNumber"], a_cv())).status_code == 200


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
    assert await changes(database, survivor["cvId"]) == ["created"]
    assert await changes(database, merged["cvId"]) == ["created", "deleted"]


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


FROM, INTO, DAY = "101", "751", date(2027, 1, 1)
MERGER = MunicipalityMerger(FROM, INTO, DAY)


def merging(database: Database, clock: SettableClock) -> Merging:
    outbox = Outbox()
    return Merging(MergeStore(database, outbox), CvStore(database, outbox), default(), clock)


async def test_a_municipalitys_citizens_are_the_others_from_danish_midnight_on(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    citizen, elsewhere = a_citizen(), a_citizen(relations=[relation(OTHER_MUNICIPALITY)])
    await registry.register(citizen, elsewhere)
    number = citizen["personNumber"]
    await registry.replace(number)
    assert await merging(database, clock).municipalities(MERGER) == 1
    assert await merging(database, clock).municipalities(MERGER) == 0, "begun again it changes nothing"
    old, new = a_caller(MUNICIPALITY), a_caller(Organisation(7, INTO))

    async def who_may() -> list[int]:
        return [(await registry.get(number, caller=one)).status_code for one in (old, new)]

    clock.now = datetime(2026, 12, 31, 22, 59, tzinfo=UTC)
    assert await who_may() == [200, 403]
    clock.now = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    assert await who_may() == [403, 200]
    shown = (await registry.get(number, caller=a_caller(JOBNET))).json()["Municipality"]
    assert shown["MunicipalityCode"] == INTO
    assert await changes(database, (await registry.register(elsewhere))[0]["personId"]) == ["registered"]


async def test_who_gets_another_person_number_while_a_municipality_merges_moves_all_the_same(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    citizen, new_number = a_citizen(), a_person_number()
    await registry.register(citizen)
    renumbered = {**citizen, "sourceVersion": 2, "personNumber": new_number}

    class Slow(MergeStore):
        async def page_for(self, *page: Any) -> Any:
            found = await super().page_for(*page)
            await registry.register({**renumbered, "formerPersonNumber": citizen["personNumber"]})
            return found

    outbox = Outbox()
    slow = Merging(Slow(database, outbox), CvStore(database, outbox), default(), clock)
    assert await slow.municipalities(MERGER) == 1
    states = await database.fetch("SELECT person_number, state::text LIKE '%\"751\"%' FROM citizens")
    assert [tuple(row) for row in states] == [(new_number, True)]


async def test_citizens_are_looked_through_a_page_at_a_time_wherever_those_are_who_move(
    registry: RegistryClient, database: Database
) -> None:
    people = [a_citizen(relations=[relation(OTHER_MUNICIPALITY)]) for _ in range(5)]
    ids = sorted(UUID(one["personId"]) for one in await registry.register(*people))
    store = MergeStore(database, Outbox())
    assert await store.page_for(FROM, UUID(int=0), 2) == (ids[1], [])
    assert await store.page_for(FROM, ids[1], 9) == (ids[4], [])
    assert await store.page_for(FROM, ids[4], 9) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("101", "751", "1 January"), "DAY is a date"),
        (("101", "999", "2027-01-01"), "INTO is no other municipality"),
        (("101", "101", "2027-01-01"), "INTO is no other municipality"),
        (("10l", "751", "2027-01-01"), "FORMER is no municipality's code"),
    ],
)
async def test_a_municipality_or_a_day_that_cannot_be_is_said_in_one_line(
    postgres: PostgresSettings, identities: Identities, arguments: tuple[str, str, str], said: str
) -> None:
    with pytest.raises(SystemExit, match=f"^Nothing was done: {said}"):
        await run_merger(some_settings(postgres, identities.settings(SERVICE)), *arguments)


async def test_who_belongs_to_the_jobcenter_alone_moves_too(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    await registry.register(a_citizen(relations=[relation(JOBCENTER)]))
    assert await merging(database, clock).municipalities(MERGER) == 1


async def test_who_belongs_to_any_of_the_jobcenters_offices_or_was_referred_by_one_moves_too(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    office = Organisation(8, "10117")
    there, referred = relation(office), referral(ACTOR, office)
    await registry.register(a_citizen(relations=[there]), a_citizen(relations=[referred]))
    assert await merging(database, clock).municipalities(MERGER) == 2


async def test_what_the_source_tells_again_after_a_merger_is_late_and_what_is_newer_counts(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    await merging(database, clock).municipalities(MERGER)
    assert [one["outcome"] for one in await registry.intake(citizen)] == ["stale"]
    newer = {**citizen, "sourceVersion": 2, "enrolled": not citizen.get("enrolled", False)}
    assert [one["outcome"] for one in await registry.intake(newer)] == ["applied"]
    assert [one["outcome"] for one in await registry.intake(newer)] == ["unchanged"]


async def test_a_source_that_tells_by_itself_what_a_merger_did_is_up_to_date(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    citizen = a_citizen(relations=[relation(JOBCENTER)])
    await registry.register(citizen)
    await merging(database, clock).municipalities(MERGER)
    state = json.loads(await database.fetchval("SELECT state FROM citizens"))
    newer = {**citizen, "sourceVersion": 2, "relations": state["relations"]}
    for _ in range(2):
        assert [one["outcome"] for one in await registry.intake(newer)] == ["unchanged"]


def test_referrals_by_the_authorities_move_along_and_what_has_ended_stays() -> None:
    state = {
        "cvId": str(UUID(int=1)),
        "relations": [
            {"organisationType": 7, "organisationCode": FROM, "from": "2020-01-01"},
            {"organisationType": 8, "organisationCode": "10100", "from": "2027-03-01", "to": "2027-04-01"},
            {"organisationType": 7, "organisationCode": FROM, "from": "2010-01-01", "to": "2012-01-01"},
            {"organisationType": 1, "organisationCode": "101", "from": "2020-01-01"},
            {
                "organisationType": 4,
                "organisationCode": "12345678",
                "from": "2026-01-01",
                "to": "2027-02-01",
                "referredByType": 7,
                "referredByCode": FROM,
            },
        ],
    }
    after = moved(state, MERGER)
    assert moved(after, MERGER) == after
    told = [
        (r["organisationType"], r["organisationCode"], r["from"], r.get("to")) for r in after["relations"]
    ]
    assert told == [
        (7, FROM, "2020-01-01", "2026-12-31"),
        (7, INTO, "2027-01-01", None),
        (8, "75100", "2027-03-01", "2027-04-01"),
        (7, FROM, "2010-01-01", "2012-01-01"),
        (1, "101", "2020-01-01", None),
        (4, "12345678", "2026-01-01", "2026-12-31"),
        (4, "12345678", "2027-01-01", "2027-02-01"),
    ]
    citizen = Citizen.from_state(UUID(int=2), 1, after)
    for authority, day, allowed in (
        (FROM, date(2026, 12, 31), True),
        (FROM, DAY, False),
        (INTO, DAY, True),
    ):
        decision = decide(1, Actor(Organisation(7, authority), ACTOR), citizen, day)
        assert decision.allowed is allowed
