"""An operator at a terminal, against a service over TCP."""

import asyncio
import getpass
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from fastapi import FastAPI, Request
from typer.testing import CliRunner

from cvhub import operations, operator
from cvhub.cli import app
from cvhub.operator import place
from cvhub.servers.process import CannotStart
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.operations import Operations, operation_routes
from servicekit.follow.owner_testing import Things, client_of, owner_app, serving
from servicekit.follow.projection import Projection
from servicekit.follow.testing import CITIZENS, Copies
from servicekit.settings import HttpSettings, KafkaSettings
from servicekit.testing import end, eventually, free_port
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.testing import Identities

pytestmark = pytest.mark.infra


@dataclass
class World:
    database: Database
    things: Things

    async def run(self, *arguments: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))

    async def live(self) -> bool:
        found = await self.database.fetchval("select 1 from projection_generations where status = 'live'")
        return found is not None


@pytest_asyncio.fixture
async def world(
    fresh_database: FreshDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "cli-tests")
    owners = await Database.connect(await fresh_database(), "owner-tests")
    things, copies = await Things(owners).create(), await Copies(database).create()
    keys = Identities(tmp_path, ["cv-status", "owner", "operator"])
    monkeypatch.setenv("CVHUB_OPERATOR_KEY", str(keys.key_file("operator")))
    async with serving(owner_app(things, keys.verifier("owner"), "cv-status"), free_port()) as url:
        client, owner = client_of(url, keys.signers["cv-status"])
        projection = Projection(
            name="copies", topic=CITIZENS, fetch=owner.states, apply=copies.apply, owner=owner
        )
        follower = Follower(
            database, KafkaSettings(bootstrap_servers="127.0.0.1:9"), "cv-status", [projection]
        )

        def operations(_request: Request) -> Operations:
            return Operations(database, follower)

        service = FastAPI()
        install(service, keys.verifier("cv-status"))
        service.include_router(operation_routes(operations))
        async with serving(Routes(service, HttpSettings(), Health()), free_port()) as here:
            monkeypatch.setenv("CVHUB_SERVICES", json.dumps({"cv-status": here}))
            building = asyncio.create_task(follower.rebuilds.run())
            yield World(database, things)
            await end(building)
        client.close()
    await owners.close()
    await database.close()


async def test_what_waits_is_listed_retried_and_discarded_with_name_and_reason(world: World) -> None:
    assert "Nothing waits" in (await world.run("pending", "list", "cv-status")).output
    subject = str(uuid4())
    await world.database.execute(
        "insert into pending_subjects (projection, subject, version, next_try, reason)"
        " values ('copies', $1, 3, now() + interval '1 hour', 'owner-silent')",
        subject,
    )
    listed = await world.run("pending", "list", "cv-status")
    assert subject in listed.output
    of = ("cv-status", "--projection", "copies", "--reason", "told so")
    assert "1 due now" in (await world.run("pending", "retry", *of)).output
    assert "1 discarded" in (await world.run("pending", "discard", *of, subject)).output
    assert (await world.run("pending", "discard", *of, subject)).exit_code == 1
    rows = await world.database.fetch("select who, action, reason from operator_actions order by id")
    assert [tuple(row) for row in rows] == [
        (getpass.getuser(), "retry pending", "told so"),
        (getpass.getuser(), "discard pending", "told so"),
    ]


async def test_a_projection_is_rebuilt_and_compared(world: World) -> None:
    for _ in range(30):
        await world.things.put(uuid4(), 1)
    await eventually(world.live)
    built = await world.run("rebuild", "cv-status", "copies", "--reason", "to be sure")
    assert "built anew and live" in built.output
    same = await world.run("verify", "cv-status", "copies")
    assert (same.exit_code, "All 30 subjects" in same.output) == (0, True)
    new = uuid4()
    await world.things.put(new, 1)
    differs = await world.run("verify", "cv-status", "copies")
    assert differs.exit_code == 1
    assert str(new) in differs.output
    assert "missing" in differs.output
    assert "copies" in (await world.run("projections", "cv-status")).output


async def test_partitions_of_which_records_were_gone_are_in_the_list_of_projections(world: World) -> None:
    await eventually(world.live)
    await world.database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset, gap_at)"
        " select 'copies', 'x', n, 7, now() + interval '1 hour' from generate_series(1, 2) n"
    )
    header, row = (await world.run("projections", "cv-status")).output.splitlines()
    assert (header.split()[-1], row.split()[-1]) == ("gaps", "2")


async def test_a_build_that_somebody_else_gives_up_is_not_called_live(world: World) -> None:
    await eventually(world.live)
    world.things.gate = asyncio.Event()
    building = asyncio.create_task(world.run("rebuild", "cv-status", "copies", "--reason", "to be sure"))
    begun = "select 1 from projection_generations where status = 'building'"

    async def is_begun() -> bool:
        return await world.database.fetchval(begun) is not None

    await eventually(is_begun)
    elsewhere = operator.Operator("cv-status")
    await asyncio.to_thread(elsewhere.decide, "/projections/copies/rebuild/give-up", "by mistake")
    watched = await building
    assert watched.exit_code == 1
    assert "gave build 2 up" in str(watched.exception)


async def test_unreadable_and_refused_records_are_listed(world: World) -> None:
    assert "All records" in (await world.run("unreadable", "list", "cv-status")).output
    assert "taken everything" in (await world.run("refused", "list", "cv-status")).output


async def test_what_cannot_be_done_is_said_with_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = await world.run("rebuild", "cv-status", "nothing", "--reason", "x")
    assert isinstance(unknown.exception, CannotStart)
    assert "cvhub projections cv-status" in str(unknown.exception)
    misspelled = await world.run(
        "pending", "discard", "cv-status", "x", "--projection", "copies", "--reason", "x"
    )
    assert "cv-status cannot take that: subjects[0] " in str(misspelled.exception)
    unnamed = await world.run("projections", "cv-search")
    assert "there are: cv-status" in str(unnamed.exception)
    monkeypatch.setenv("CVHUB_SERVICES", json.dumps({"cv-status": f"http://127.0.0.1:{free_port()}"}))
    away = await world.run("pending", "list", "cv-status")
    assert "does not answer" in str(away.exception)


async def test_a_list_of_a_service_that_hangs_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert operator.READ_SECONDS <= 10
    monkeypatch.setattr(operator, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        monkeypatch.setenv("CVHUB_SERVICES", json.dumps({"cv-status": url}))
        hung = await world.run("projections", "cv-status")
    assert "cv-status does not answer (ReadTimeout)" in str(hung.exception)


def test_a_service_that_there_is_not_is_refused_before_a_reason_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "operator.pem").touch()
    monkeypatch.setenv("CVHUB_SERVICES", json.dumps({"cv-status": "http://127.0.0.1:9"}))
    monkeypatch.setenv("CVHUB_OPERATOR_KEY", str(tmp_path / "operator.pem"))
    refused = CliRunner().invoke(app, ["rebuild", "nobody", "copies"])
    assert isinstance(refused.exception, CannotStart)
    assert "there are: cv-status" in str(refused.exception)
    assert "Why" not in refused.output


@pytest.mark.parametrize("named", ["http://cv-status", "[]", "{"])
def test_a_wrong_list_of_services_is_said_with_what_it_should_be(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVHUB_SERVICES", named)
    with pytest.raises(CannotStart, match="CVHUB_SERVICES is the base URL of each service, as JSON"):
        place()


@pytest.mark.parametrize("command", [["projections", "cv-status"], ["erase", "--pending"], ["doctor"]])
def test_every_command_says_that_a_system_elsewhere_needs_its_operators_key(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CVHUB_SERVICES", "{}")
    monkeypatch.setenv("CVHUB_OPERATOR_KEY", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("CVHUB_ERASURES", str(tmp_path / "orders.sqlite3"))
    said = CliRunner().invoke(app, command).exception
    assert isinstance(said, CannotStart)
    assert "CVHUB_OPERATOR_KEY" in str(said)


def test_a_token_for_a_scope_that_nobody_knows_is_refused_with_those_there_are() -> None:
    said = (
        CliRunner()
        .invoke(app, ["token", "--organisation", "101:1", "--scope", "cv.read", "cv.rite"])
        .exception
    )
    assert str(said).startswith("There is no scope 'cv.rite'; there are: cv.read, ")


def test_the_doctor_says_that_it_must_be_told_of_kafka_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = Identities(tmp_path, ["operator"]).key_file("operator")
    monkeypatch.setenv("CVHUB_SERVICES", "{}")
    monkeypatch.setenv("CVHUB_OPERATOR_KEY", str(key))
    monkeypatch.delenv("KAFKA__BOOTSTRAP_SERVERS", raising=False)
    said = CliRunner().invoke(app, ["doctor"]).exception
    assert isinstance(said, CannotStart)
    assert "KAFKA__BOOTSTRAP_SERVERS" in str(said)


class Instances:
    """Stands for the calls to a service of two instances, one of which has already built; each answer is what comes next."""

    def __init__(self, *standings: tuple[int, int]) -> None:
        self._standings = iter(standings)
        self.ordered = False

    def __call__(self, _service: str) -> "Instances":
        return self

    def decide(self, path: str, _reason: str) -> None:
        self.ordered = path == "/index/rebuild"

    def get(self, _path: str) -> dict[str, Any]:
        assert self.ordered
        built, older = next(self._standings)
        return {"built": 0, "indexes": {"built": built, "older": older}}


def test_the_index_is_called_built_anew_when_it_is_in_every_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    instances = Instances((0, 0), (0, 2), (1, 1), (2, 0))
    monkeypatch.setattr(operations, "Operator", instances)
    monkeypatch.setattr(operations, "LOOK_SECONDS", 0.001)
    done = CliRunner().invoke(app, ["reindex", "--reason", "an exercise"])
    assert (done.exit_code, "built anew and live, in every instance" in done.output) == (0, True)
    with pytest.raises(StopIteration):
        instances.get("/index")
