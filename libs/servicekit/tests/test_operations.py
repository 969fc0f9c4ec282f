"""An operator's routes, over TCP: what is shown, what is decided, and that it is recorded by whom and why."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request

from cv_contracts import envelope
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.operations import Operations, operation_routes
from servicekit.follow.owner_testing import Things, client_of, owner_app, serving
from servicekit.follow.projection import Projection
from servicekit.follow.records import Record
from servicekit.follow.testing import CITIZENS, Copies, changed
from servicekit.settings import HttpSettings, KafkaSettings
from servicekit.testing import end, eventually, free_port
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.testing import Identities

pytestmark = pytest.mark.infra
WHY = {"who": "anna", "reason": "the owner was repaired"}


@dataclass
class World:
    database: Database
    things: Things
    follower: Follower
    http: httpx.AsyncClient

    async def get(self, path: str) -> Any:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def projection(self) -> Any:
        [shown] = (await self.get("/projections"))["projections"]
        return shown

    async def actions(self) -> list[tuple[str, str, str, str]]:
        rows = await self.database.fetch(
            "select who, action, target, reason from operator_actions order by id"
        )
        return [tuple(row) for row in rows]

    async def wait_for(self, subject: UUID, projection: str = "copies") -> None:
        await self.database.execute(
            "insert into pending_subjects (projection, subject, version, attempts, next_try, reason)"
            " values ($2, $1, 3, 9, now() + interval '4 minutes', 'owner-silent')",
            subject,
            projection,
        )

    async def cannot_read(self, record: Record, projection: str = "copies") -> int:
        number: int = await self.database.fetchval(
            'insert into unreadable_records (projection, topic, partition, "offset", key, headers, value, reason)'
            " values ($6, $1, 0, $2, $3, $4, $5, 'unknown-version') returning id",
            CITIZENS.name,
            record.offset,
            record.key,
            record.raw_headers(),
            record.value,
            projection,
        )
        return number


@pytest_asyncio.fixture
async def world(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "operations-tests")
    owners = await Database.connect(await fresh_database(), "owner-tests")
    things = await Things(owners).create()
    copies = await Copies(database).create()
    keys, ports = Identities(tmp_path, ["follower", "owner", "operator"]), [free_port(), free_port()]
    async with serving(owner_app(things, keys.verifier("owner"), "follower"), ports[0]) as url:
        client, owner = client_of(url, keys.signers["follower"])
        projection = Projection(
            name="copies", topic=CITIZENS, fetch=owner.states, apply=copies.apply, owner=owner
        )
        nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
        follower = Follower(database, nowhere, "follower", [projection])

        def operations(_request: Request) -> Operations:
            return Operations(database, follower)

        app = FastAPI()
        install(app, keys.verifier("follower"))
        app.include_router(operation_routes(operations))
        async with (
            serving(Routes(app, HttpSettings(), Health()), ports[1]) as here,
            httpx.AsyncClient(
                base_url=f"{here}/internal/operations",
                headers={"authorization": f"Bearer {keys.signers['operator'].token('follower')}"},
            ) as http,
        ):
            building = asyncio.create_task(follower.rebuilds.run())
            yield World(database, things, follower, http)
            await end(building)
        client.close()
    await owners.close()
    await database.close()


async def live(world: World, generation: int) -> bool:
    return bool((await world.projection())["live"] == generation)


async def test_partitions_of_which_records_were_gone_are_counted(world: World) -> None:
    await eventually(lambda: live(world, 1))
    assert (await world.projection())["gaps"] == 0
    # No build of this test has begun later, so that none takes them away.
    await world.database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset, gap_at)"
        " select 'copies', $1, n, 7, now() + n * interval '1 hour' from generate_series(1, 2) n",
        CITIZENS.name,
    )
    assert (await world.projection())["gaps"] == 2


async def test_a_projection_is_rebuilt_compared_and_shown(world: World) -> None:
    for _ in range(20):
        await world.things.put(uuid4(), 1)
    await eventually(lambda: live(world, 1))
    assert await world.post("/projections/copies/rebuild", **WHY) == {"generation": 2}
    await eventually(lambda: live(world, 2))
    shown = await world.projection()
    assert (shown["name"], shown["building"], shown["pending"], shown["unreadable"]) == ("copies", None, 0, 0)
    assert await world.actions() == [("anna", "rebuild", "copies 2", "the owner was repaired")]

    new = uuid4()
    await world.things.put(new, 4)
    result = await world.post("/projections/copies/verify")
    assert (result["compared"], result["total"]) == (21, 1)
    assert result["differences"] == [
        {"subject": str(new), "ours": None, "owners": 4, "waits": False, "kind": "missing"}
    ]


async def test_a_build_under_way_shows_its_progress_and_can_be_given_up(world: World) -> None:
    await eventually(lambda: live(world, 1))
    world.things.gate = asyncio.Event()
    await world.post("/projections/copies/rebuild", **WHY)
    building = (await world.projection())["building"]
    assert {"generation", "rows", "share", "rate", "secondsLeft", "held"} <= building.keys()
    assert await world.post("/projections/copies/rebuild", **WHY) == {"generation": 2}
    await world.post("/projections/copies/rebuild/give-up", **WHY)
    assert (await world.projection())["building"] is None
    again = await world.http.post("/projections/copies/rebuild/give-up", json=WHY)
    assert again.status_code == 409
    world.things.gate.set()


async def test_pending_subjects_are_listed_retried_and_discarded(world: World) -> None:
    one, two, three = uuid4(), uuid4(), uuid4()
    for subject in (one, two, three):
        await world.wait_for(subject)
    await world.wait_for(others := uuid4(), "others")
    rows = (await world.get("/pending"))["rows"]
    assert {row["subject"] for row in rows} == {str(one), str(two), str(three), str(others)}
    rows = (await world.get("/pending?projection=copies"))["rows"]
    assert {row["subject"] for row in rows} == {str(one), str(two), str(three)}
    await world.database.execute("delete from pending_subjects where subject = $1", others)

    assert await world.post("/pending/retry", projection="copies", subjects=[str(one)], **WHY) == {"count": 1}
    due = await world.database.fetch("select subject from pending_subjects where next_try <= now()")
    assert [row["subject"] for row in due] == [one]
    assert await world.post("/pending/discard", projection="copies", subjects=[str(two)], **WHY) == {
        "count": 1
    }
    assert await world.post("/pending/retry", projection="copies", **WHY) == {"count": 2}
    assert [action[1:3] for action in await world.actions()][:2] == [
        ("retry pending", f"copies {one}"),
        ("discard pending", f"copies {two}"),
    ]
    assert await world.post("/pending/discard", projection="copies", subjects=[str(two)], **WHY) == {
        "count": 0
    }


async def test_a_record_is_read_again_or_given_up(world: World) -> None:
    event = changed(uuid4(), 7)
    good = Record(
        CITIZENS, 0, 1, envelope.key(event), envelope.headers(event, "s"), envelope.data_json(event)
    )
    bad = Record(CITIZENS, 0, 2, b"\xff", [("ce_type", None)], None)
    numbers = [await world.cannot_read(good), await world.cannot_read(bad)]
    rows = (await world.get("/unreadable"))["rows"]
    assert [(row["id"], row["offset"]) for row in rows] == [(numbers[0], 1), (numbers[1], 2)]
    assert "value" not in rows[0]

    assert await world.post("/unreadable/retry", projection="copies", ids=numbers, **WHY) == {"count": 1}
    [waiting] = (await world.get("/pending"))["rows"]
    assert (waiting["subject"], waiting["version"]) == (str(event.subject), 7)
    assert [row["id"] for row in (await world.get("/unreadable"))["rows"]] == numbers[1:]
    assert await world.post("/unreadable/discard", projection="copies", ids=numbers, **WHY) == {"count": 1}
    assert [action[2] for action in await world.actions()] == [
        f"copies {CITIZENS.name}/0/1",
        f"copies {CITIZENS.name}/0/2",
    ]


async def test_a_record_of_a_projection_that_is_there_no_more_can_be_given_up(world: World) -> None:
    number = await world.cannot_read(Record(CITIZENS, 0, 2, b"\xff", [("ce_type", None)], None), "gone")
    again = {"projection": "gone", "ids": [number], **WHY}
    assert (await world.http.post("/unreadable/retry", json=again)).status_code == 404
    assert await world.post("/unreadable/discard", **again) == {"count": 1}
    assert await world.get("/unreadable") == {"rows": []}


async def test_a_refused_record_is_listed_and_decided_about(world: World) -> None:
    await world.database.execute(
        "insert into outbox_refused (seq, id, aggregatetype, aggregateid, type, payload, version, time, reason)"
        " values (5, gen_random_uuid(), 't', 's', 'y', 'x', 1, now(), 'too large')"
    )
    [row] = (await world.get("/refused"))["rows"]
    assert (row["seq"], row["topic"], row["reason"]) == (5, "t", "too large")
    assert await world.post("/refused/discard", seq=5, **WHY) == {"count": 1}
    assert await world.post("/refused/retry", seq=5, **WHY) == {"count": 0}


@pytest.mark.parametrize("number", [-1, 2**63, 10**20])
async def test_a_number_that_no_row_can_have_is_1014(world: World, number: int) -> None:
    for path, body in (
        ("/unreadable/discard", {"projection": "copies", "ids": [number]}),
        ("/refused/discard", {"seq": number}),
    ):
        answer = await world.http.post(path, json={**body, **WHY})
        assert (answer.status_code, answer.json()["code"]) == (400, 1014)
    assert await world.actions() == []


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501, "x\x00", None])
async def test_nothing_is_decided_without_a_reason(world: World, reason: str | None) -> None:
    subject = uuid4()
    await world.wait_for(subject)
    body = {"projection": "copies", "subjects": [str(subject)], "who": "anna", "reason": reason}
    for path in ("/pending/discard", "/pending/retry"):
        answer = await world.http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, 1014)
    assert len((await world.get("/pending"))["rows"]) == 1
    assert await world.actions() == []


@pytest.mark.parametrize(
    "asked",
    [
        {"user": "\x00"},
        {"organisation": [7, "\x00"]},
        {"organisation": [2**15, "101"]},
        {"organisation": [10**20, "101"]},
    ],
    ids=["user", "organisation", "type", "large type"],
)
async def test_what_no_row_can_have_is_not_looked_for_in_the_access_log(world: World, asked: Any) -> None:
    period = {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    answer = await world.http.post("/access-log", json={**period, **asked})
    assert (answer.status_code, answer.json()["code"]) == (400, 1014)


@pytest.mark.parametrize("path", ["/projections/x/rebuild", "/projections/x/verify"])
async def test_a_projection_that_is_not_there_is_not_found(world: World, path: str) -> None:
    assert (await world.http.post(path, json=WHY)).status_code == 404


@pytest.mark.parametrize("what", ["pending", "unreadable"])
async def test_rows_of_a_projection_that_is_not_there_are_not_found_and_not_none(
    world: World, what: str
) -> None:
    assert (await world.http.get(f"/{what}", params={"projection": "copeis"})).status_code == 404
    assert await world.get(f"/{what}?projection=copies") == {"rows": []}


async def test_only_the_operator_may(world: World) -> None:
    answer = await world.http.get("/projections", headers={"authorization": "Bearer x"})
    assert answer.json()["code"] == 1012
