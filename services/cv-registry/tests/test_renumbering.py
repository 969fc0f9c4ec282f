"""Person numbers that change: in any order, corrected, told by mistake; each on a real PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cv_registry.store_citizens import IMPORTING, CitizenStore
from cv_registry.testing import RegistryClient, a_citizen, a_person_number, events_of
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra


def renumbered_from(citizen: dict[str, Any], version: int) -> dict[str, Any]:
    """Give the same citizen under a number that replaces this one's."""
    former = citizen["personNumber"]
    return {
        **citizen,
        "sourceVersion": version,
        "personNumber": a_person_number(),
        "formerPersonNumber": former,
    }


async def numbers_of(database: Database) -> set[str]:
    return {row[0] for row in await database.fetch("SELECT person_number FROM citizens")}


async def test_a_new_person_number_stays_the_same_person_with_the_same_cv(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    (first,) = await registry.register(citizen)
    assert (await registry.replace(citizen["personNumber"])).status_code == 200
    changed = {
        **citizen,
        "sourceVersion": 2,
        "personNumber": a_person_number(),
        "formerPersonNumber": citizen["personNumber"],
    }
    (second,) = await registry.register(changed)
    assert second == first
    assert (await registry.get(changed["personNumber"])).status_code == 200
    assert (await registry.get(citizen["personNumber"])).json()["code"] == 1010
    assert (await registry.replace(changed["personNumber"])).status_code == 200
    (_, event) = await events_of(database, first["personId"])
    assert '"change":"changed"' in event
    states = await database.fetchval("select state::text from citizens")
    assert citizen["personNumber"] not in states
    (again,) = await registry.register(changed)
    assert again["outcome"] == "unchanged"
    (late,) = await registry.intake({**changed, "sourceVersion": 1, "enrolled": False})
    assert late["outcome"] == "stale"


async def test_a_former_number_of_nobody_here_registers_the_citizen(registry: RegistryClient) -> None:
    (result,) = await registry.register(a_citizen(formerPersonNumber=a_person_number()))
    assert result["outcome"] == "applied"


async def test_two_citizens_do_not_become_one_by_a_former_number(registry: RegistryClient) -> None:
    one, other = a_citizen(), a_citizen()
    await registry.register(one, other)
    (refused,) = await registry.intake(
        {**one, "sourceVersion": 2, "formerPersonNumber": other["personNumber"]}
    )
    assert refused["errors"][0]["element"] == "formerPersonNumber"


async def test_nor_by_a_number_that_the_other_had_before(registry: RegistryClient) -> None:
    first, other = a_citizen(), a_citizen()
    await registry.register(first, other)
    await registry.register(renumbered_from(first, 2))
    (refused,) = await registry.intake(
        {**other, "sourceVersion": 4, "formerPersonNumber": first["personNumber"]}
    )
    assert refused["errors"][0]["element"] == "formerPersonNumber"


async def test_writes_about_both_numbers_meet_their_change(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    changed = {**citizen, "personNumber": a_person_number(), "formerPersonNumber": citizen["personNumber"]}
    deliveries = [{**citizen, "sourceVersion": 1}] * 5 + [{**changed, "sourceVersion": 2}] * 5
    await asyncio.gather(*(registry.intake(delivery) for delivery in deliveries))
    rows = await database.fetch("select person_number from citizens")
    assert [row["person_number"] for row in rows] == [changed["personNumber"]]


async def test_a_late_delivery_under_a_former_number_registers_nobody(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    changed = {**citizen, "personNumber": a_person_number(), "formerPersonNumber": citizen["personNumber"]}
    (first,) = await registry.register(citizen)
    await registry.register({**changed, "sourceVersion": 3})
    (late,) = await registry.intake({**citizen, "sourceVersion": 2})
    (wrong,) = await registry.intake({**citizen, "sourceVersion": 4})
    assert (late["outcome"], late["personId"], wrong["outcome"]) == ("stale", first["personId"], "refused")
    assert await database.fetchval("select count(*) from citizens") == 1


async def test_a_number_that_was_changed_by_mistake_is_taken_back(
    registry: RegistryClient, database: Database
) -> None:
    citizen, other = a_citizen(), a_person_number()
    (first,) = await registry.register(citizen)
    changed = {**citizen, "personNumber": other, "formerPersonNumber": citizen["personNumber"]}
    await registry.register({**changed, "sourceVersion": 2})
    back = {**citizen, "sourceVersion": 3, "formerPersonNumber": other}
    assert await registry.register(back) == [first]
    assert await database.fetchval("select array_agg(person_number) from former_person_numbers") == [other]


async def test_a_former_number_of_nobody_here_registers_nobody_later_either(
    registry: RegistryClient, database: Database
) -> None:
    """A renumbering that overtakes the registration: what is told under the old number comes late."""
    first = a_citizen()
    renumbered = renumbered_from(first, 2)
    (new,) = await registry.register(renumbered)
    (late,) = await registry.register(first)
    (wrong,) = await registry.intake({**first, "sourceVersion": 3})
    assert late == {**new, "outcome": "stale"}
    assert wrong["outcome"] == "refused"
    assert await numbers_of(database) == {renumbered["personNumber"]}


async def test_renumberings_that_come_in_the_opposite_order_are_of_one_person(
    registry: RegistryClient, database: Database
) -> None:
    first = a_citizen()
    second = renumbered_from(first, 2)
    third = renumbered_from(second, 3)
    (new,) = await registry.register(third)
    assert await registry.register(second) == await registry.register(first) == [{**new, "outcome": "stale"}]
    assert await numbers_of(database) == {third["personNumber"]}


@pytest.mark.parametrize("version", [1, 2])
async def test_a_former_number_is_remembered_also_where_nothing_else_is_new(
    registry: RegistryClient, database: Database, version: int
) -> None:
    citizen, former = a_citizen(), a_citizen()
    (new,) = await registry.register(citizen)
    await registry.register(
        {**citizen, "sourceVersion": version, "formerPersonNumber": former["personNumber"]}
    )
    assert await registry.register({**former, "sourceVersion": 0}) == [{**new, "outcome": "stale"}]
    assert await numbers_of(database) == {citizen["personNumber"]}


async def test_a_former_number_that_was_told_by_mistake_is_taken_back_for_its_owner(
    registry: RegistryClient, database: Database
) -> None:
    """By the statement of the README."""
    citizen, owner = a_citizen(), a_citizen()
    await registry.register({**citizen, "formerPersonNumber": owner["personNumber"]})
    await registry.register({**citizen, "sourceVersion": 2})
    assert [one["outcome"] for one in await registry.intake(owner)] == ["stale"]
    take_back = "delete from former_person_numbers where person_number = "
    assert f"`{take_back}'…'`" in (Path(__file__).parents[1] / "README.md").read_text()
    await database.execute(take_back + "$1", owner["personNumber"])
    assert [one["outcome"] for one in await registry.intake(owner)] == ["applied"]
    (refused,) = await registry.intake(
        {**citizen, "sourceVersion": 3, "formerPersonNumber": owner["personNumber"]}
    )
    assert refused["errors"][0]["element"] == "formerPersonNumber"


async def test_a_renumbering_is_corrected_by_the_number_that_was_changed_first(
    registry: RegistryClient, database: Database
) -> None:
    first = a_citizen()
    (ids,) = await registry.register(first)
    mistaken = renumbered_from(first, 2)
    corrected = renumbered_from(first, 3)
    await registry.register(mistaken)
    assert await registry.register(corrected) == [ids]
    assert await numbers_of(database) == {corrected["personNumber"]}
    for late in (mistaken, first, renumbered_from(first, 1)):
        assert await registry.register(late) == [{**ids, "outcome": "stale"}]
    back = {**mistaken, "sourceVersion": 4}
    assert await registry.register(back) == [ids]
    assert await numbers_of(database) == {mistaken["personNumber"]}


async def test_who_is_told_of_by_two_former_numbers_in_one_delivery_is_taken_twice_in_its_order(
    registry: RegistryClient, database: Database
) -> None:
    first = a_citizen()
    (ids,) = await registry.register(first)
    second = renumbered_from(first, 2)
    await registry.register(second, renumbered_from(second, 3))
    fourth, fifth = renumbered_from(first, 4), renumbered_from(second, 5)
    assert await registry.register(fourth, fifth) == [ids, {**ids, "index": 1}]
    assert await numbers_of(database) == {fifth["personNumber"]}


async def test_a_renumbering_that_was_overtaken_makes_no_person_of_two(
    registry: RegistryClient, database: Database
) -> None:
    first = a_citizen()
    second = renumbered_from(first, 2)
    third = renumbered_from(second, 3)
    await registry.register(first, third)
    (refused,) = await registry.intake(second)
    assert refused["errors"][0]["element"] == "personNumber"
    assert "formerPersonNumber" in refused["errors"][0]["reason"]
    assert await numbers_of(database) == {first["personNumber"], third["personNumber"]}


async def test_writes_under_the_present_number_meet_a_renumbering_by_a_former_one(
    registry: RegistryClient, database: Database
) -> None:
    first = a_citizen()
    second = renumbered_from(first, 2)
    await registry.register(first)
    await registry.register(second)
    async with database.write(CitizenStore.lock(second["personNumber"])):
        renumbering = asyncio.create_task(registry.register(renumbered_from(first, 3)))
        _, waiting = await asyncio.wait({renumbering}, timeout=0.5)
        assert waiting == {renumbering}
    assert [one["outcome"] for one in await renumbering] == ["applied"]


async def test_who_is_imported_under_the_former_number_meanwhile_is_the_same_person(
    registry: RegistryClient, database: Database
) -> None:
    first = a_citizen()
    (ids,) = await registry.register(a_citizen())
    async with database.write(IMPORTING) as tx:
        delivering = asyncio.create_task(registry.register(renumbered_from(first, 2)))
        await asyncio.wait({delivering}, timeout=0.5)
        await tx.conn.execute("UPDATE citizens SET person_number = $1", first["personNumber"])
    (renumbered,) = await delivering
    assert (renumbered["outcome"], renumbered["personId"]) == ("applied", ids["personId"])


async def test_a_merged_person_is_not_renumbered_by_a_former_number_either(
    registry: RegistryClient, database: Database
) -> None:
    first = a_citizen()
    (ids,) = await registry.register(first)
    await registry.register(renumbered_from(first, 2))
    await database.execute(
        "INSERT INTO merged_persons VALUES ($1, gen_random_uuid(), 'one person', 'test', now())",
        UUID(ids["personId"]),
    )
    (refused,) = await registry.intake(renumbered_from(first, 3))
    assert refused["outcome"] == "refused"
