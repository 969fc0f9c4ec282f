"""Two municipalities that become one: who moves, from which day on, and what comes late."""

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
from cv_registry.merge_municipality import run_merger
from cv_registry.merged_states import MunicipalityMerger, moved
from cv_registry.merging import Merging
from cv_registry.settings import SERVICE
from cv_registry.store_cvs import CvStore
from cv_registry.store_merges import MergeStore
from cv_registry.testing import (
    RegistryClient,
    SettableClock,
    a_citizen,
    a_person_number,
    changes_of,
    some_settings,
)
from servicekit.caller import Organisation
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox
from servicekit.settings import PostgresSettings
from servicekit.web.testing import Identities

pytestmark = pytest.mark.infra

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
    assert await changes_of(database, (await registry.register(elsewhere))[0]["personId"]) == ["registered"]


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
