"""The citizens' intake: repeats, late deliveries, refusals, CV numbers; each on a real PostgreSQL."""

import asyncio
import random
from typing import Any
from uuid import UUID

import pytest

from cv_citizens.testing import ACTOR, relation
from cv_registry.testing import RegistryClient, a_citizen, a_person_number, events_of
from servicekit.data.postgres import Database
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


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
