"""The citizens' intake: repeats, late deliveries, refusals, CV numbers; each on a real PostgreSQL."""

import asyncio
import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cv_citizens.testing import ACTOR, relation
from cv_registry.store_citizens import IMPORTING, CitizenStore
from cv_registry.testing import RegistryClient, a_citizen, a_person_number
from servicekit.data.postgres import Database
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


async def events_of(database: Database, subject: str) -> list[str]:
    rows = await database.fetch(
        "SELECT payload FROM outbox WHERE aggregateid = $1 AND partition IS NULL ORDER BY seq", subject
    )
    return [row["payload"].decode() for row in rows]


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


async def test_a_new_citizen_gets_random_ids_and_a_cv_number(
    registry: RegistryClient, database: Database
) -> None:
    (result,) = await registry.register(a_citizen())
    assert result["outcome"] == "applied"
    assert UUID(result["personId"]).version == UUID(result["cvId"]).version == 4
    assert result["cvNumber"][0] != "0"
    assert len(result["cvNumber"]) == 8
    (event,) = await events_of(database, result["personId"])
    assert '"change":"registered"' in event


async def test_a_repeated_delivery_changes_nothing_and_says_so(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    (first,) = await registry.register(citizen)
    (again,) = await registry.register(citizen)
    assert again == {**first, "outcome": "unchanged"}
    assert len(await events_of(database, first["personId"])) == 1


async def test_a_late_delivery_is_stale(registry: RegistryClient, database: Database) -> None:
    citizen = a_citizen(sourceVersion=5)
    (first,) = await registry.register(citizen)
    (late,) = await registry.register({**citizen, "sourceVersion": 4, "familyName": "Gammelnavn"})
    assert late["outcome"] == "stale"
    assert len(await events_of(database, first["personId"])) == 1
    assert (await registry.get(citizen["personNumber"])).json()["code"] == 4755


async def test_deliveries_out_of_order_end_in_the_newest(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    deliveries = [{**citizen, "sourceVersion": v, "contactGroup": v} for v in range(1, 21)]
    random.Random(7).shuffle(deliveries)  # noqa: S311 - an order, not a secret
    await asyncio.gather(*(registry.register(delivery) for delivery in deliveries))
    row = await database.fetchrow(
        "SELECT source_version, state->>'contactGroup' AS contact_group FROM citizens WHERE person_number = $1",
        citizen["personNumber"],
    )
    assert row is not None
    assert (row["source_version"], row["contact_group"]) == (20, "20")


async def test_a_newer_version_that_says_nothing_new_is_no_event_but_makes_older_ones_stale(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen(sourceVersion=1)
    (first,) = await registry.register(citizen)
    (same,) = await registry.register({**citizen, "sourceVersion": 9})
    (late,) = await registry.register({**citizen, "sourceVersion": 5, "enrolled": False})
    assert (same["outcome"], late["outcome"]) == ("unchanged", "stale")
    assert len(await events_of(database, first["personId"])) == 1


async def test_one_source_version_cannot_say_two_things(registry: RegistryClient) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    (refused,) = await registry.intake({**citizen, "enrolled": False})
    assert refused["outcome"] == "refused"
    assert refused["errors"][0]["element"] == "sourceVersion"


async def test_versions_rise_with_every_change(registry: RegistryClient, database: Database) -> None:
    citizen = a_citizen()
    versions = []
    for source_version in range(1, 6):
        await registry.register({**citizen, "sourceVersion": source_version, "contactGroup": source_version})
        versions.append(await database.fetchval("SELECT max(version) FROM citizens"))
    assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    ("change", "element"),
    [
        ({"personNumber": "0000000000"}, "personNumber"),
        ({"personNumber": "3002901234"}, "personNumber"),
        ({"personNumber": "01019012345"}, "personNumber"),
        ({"personNumber": "0101901234\n"}, "personNumber"),
        ({"cvNumber": "01234567"}, "cvNumber"),
        ({"familyName": ""}, "familyName"),
        ({"familyName": "x" * 51}, "familyName"),
        ({"givenName": "x" * 71}, "givenName"),
        ({"middleName": "x" * 41}, "middleName"),
        ({"gender": "Other"}, "gender"),
        ({"sourceVersion": -1}, "sourceVersion"),
        ({"unheardOf": 1}, "body"),
        ({"address": {"addressLine": "x" * 101, "postalCode": "", "postalArea": ""}}, "address.addressLine"),
        ({"address": {"addressLine": "\x00", "postalCode": "", "postalArea": ""}}, "address.addressLine"),
        ({"relations": [{"organisationType": 24, "organisationCode": "1", "from": "2020-01-01"}]}, None),
        ({"relations": [{"organisationType": 7, "organisationCode": "10", "from": "2020-01-01"}]}, None),
        ({"relations": [relation(ACTOR)]}, None),
        ({"relations": [{"organisationType": 7, "organisationCode": "101", "from": "2020-13-01"}]}, None),
        ({"cvNumber": "12345678", "cvNumberWithdrawn": True}, None),
    ],
)
async def test_a_bad_citizen_is_refused_with_the_element_and_without_the_value(
    registry: RegistryClient, change: dict[str, Any], element: str | None
) -> None:
    good, bad = a_citizen(), a_citizen(**change)
    refused, taken = await registry.intake(bad, good)
    assert (refused["index"], refused["outcome"], taken["outcome"]) == (0, "refused", "applied")
    assert "personId" not in refused
    if element is not None:
        assert refused["errors"][0]["element"] == element
    for value in change.values():
        assert not isinstance(value, str) or len(value) < 2 or value not in str(refused["errors"])


def _nested(depth: int) -> list[Any]:
    return [_nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    "change",
    [
        {"sourceVersion": 10**20},
        {"familyName": "\ud800"},
        {"\udfff": 1},
        {"relations": _nested(400)},
    ],
    ids=[
        "an integer of 67 bits",
        "half a character",
        "half a character as a name",
        "400 lists in each other",
    ],
)
async def test_what_json_can_say_and_nobody_can_read_refuses_one_citizen_and_not_the_delivery(
    registry: RegistryClient, change: dict[str, Any]
) -> None:
    taken, refused = await registry.intake(a_citizen(), a_citizen(**change))
    assert (taken["outcome"], refused["outcome"]) == ("applied", "refused")
    assert refused["errors"][0]["element"] == "body"


async def test_a_number_of_another_citizen_is_refused(registry: RegistryClient) -> None:
    (first,) = await registry.register(a_citizen())
    (second,) = await registry.intake(a_citizen(cvNumber=first["cvNumber"]))
    assert second["outcome"] == "refused"
    assert second["errors"][0]["element"] == "cvNumber"


async def test_a_changed_number_retires_the_old_one_for_good(registry: RegistryClient) -> None:
    citizen = a_citizen(cvNumber="23456789")
    await registry.register(citizen)
    await registry.register({**citizen, "sourceVersion": 2, "cvNumber": "34567890"})
    (other,) = await registry.intake(a_citizen(cvNumber="23456789"))
    (back,) = await registry.intake({**citizen, "sourceVersion": 3})
    assert other["outcome"] == back["outcome"] == "refused"
    assert (await registry.by_number("23456789")).json()["code"] == 4103


async def test_a_number_is_kept_when_a_delivery_does_not_name_it(registry: RegistryClient) -> None:
    citizen = a_citizen()
    (first,) = await registry.register(citizen)
    (second,) = await registry.register({**citizen, "sourceVersion": 2, "enrolled": False})
    assert second["cvNumber"] == first["cvNumber"]


async def test_the_same_new_citizen_told_many_times_at_once_is_registered_once(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    results = await asyncio.gather(*(registry.register(citizen) for _ in range(20)))
    outcomes = sorted(result["outcome"] for (result,) in results)
    assert outcomes == ["applied"] + ["unchanged"] * 19
    assert len({result["personId"] for (result,) in results}) == 1
    assert await database.fetchval("SELECT count(*) FROM outbox WHERE partition IS NULL") == 1


async def test_who_is_imported_while_a_delivery_tells_of_him_is_taken_as_known(
    registry: RegistryClient, database: Database
) -> None:
    """An import takes nobody's lock: that somebody is there is found out by the write itself."""
    imported, beside = a_citizen(sourceVersion=2, enrolled=False), a_citizen()
    (ids,) = await registry.register(a_citizen())

    async def waits() -> None:
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        assert await database.fetchval(waiting) == 1

    async with database.pool.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE citizens SET person_number = $1", imported["personNumber"])
        delivering = asyncio.create_task(registry.intake(imported, beside))
        await eventually(waits)
    known, new = await delivering
    assert (known["outcome"], known["personId"], new["outcome"]) == ("applied", ids["personId"], "applied")
    assert await database.fetchval("SELECT count(*) FROM citizens") == 2


async def test_a_citizen_told_twice_in_one_delivery_is_taken_twice_in_its_order(
    registry: RegistryClient, database: Database
) -> None:
    first = a_citizen()
    changed = {**first, "sourceVersion": 2, "contactGroup": 2}
    renumbered = {**a_citizen(), "sourceVersion": 3, "formerPersonNumber": first["personNumber"]}
    results = await registry.register(first, a_citizen(), changed, renumbered)
    assert [result["outcome"] for result in results] == ["applied"] * 4
    person = results[0]["personId"]
    assert [result["personId"] == person for result in results] == [True, False, True, True]
    assert len(await events_of(database, person)) == 3


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


async def test_a_delivery_holds_at_most_a_thousand_citizens(registry: RegistryClient) -> None:
    number = a_person_number()
    response = await registry.call(
        "POST",
        "/internal/citizens",
        {"citizens": [{"personNumber": number}] * 1001},
        service="citizen-intake",
        content_type="application/json",
    )
    assert response.status_code == 400
    assert number not in response.text


@pytest.mark.parametrize("service", ["gateway", "operator", "cv-status"])
async def test_only_the_intake_may_deliver(registry: RegistryClient, service: str) -> None:
    response = await registry.call(
        "POST",
        "/internal/citizens",
        {"citizens": [a_citizen()]},
        service=service,
        content_type="application/json",
    )
    assert (response.status_code, response.json()["code"]) == (403, 1013)
