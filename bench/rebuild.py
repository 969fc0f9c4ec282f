"""P4: a replica of citizens built anew, against a commit for each event, in turns.

Both ask the owner, a process of its own, over HTTP, signed and compressed: ours for pages, the peer for the state that each event
is about. The peer is measured once more with all states ready in memory. All write by the same statements to the same PostgreSQL.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import uvicorn
from fastapi import FastAPI, Request

from bench.measured import Row, Servers
from cv_citizens.replica import replica_projection
from cv_citizens.replica_source import HttpRegistry
from servicekit.data.postgres import Database, migrate
from servicekit.follow.batch import Work, settle
from servicekit.follow.owner_testing import Things
from servicekit.follow.projection import Announced, Projection
from servicekit.follow.rebuild import Rebuild
from servicekit.follow.state_routes import Stored, hot_states, state_routes
from servicekit.follow.states import Known
from servicekit.memory import collect_seldom
from servicekit.settings import HttpSettings, PostgresSettings
from servicekit.testing import eventually, free_port
from servicekit.web.client import ServiceClient
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.identity import ServiceVerifier, load_trusted
from servicekit.web.testing import Identities

CITIZENS, SINGLE, ROUNDS = 60_000, 2_000, 3
FOLLOWER = "cv-status"


async def run(servers: Servers) -> list[Row]:
    theirs = await Database.connect(PostgresSettings(dsn=await servers.database()), "bench-owner")
    things = await Things(theirs).create()
    states = [_state(n) for n in range(CITIZENS)]
    await theirs.pool.copy_records_to_table(
        "things", records=[(s.subject, s.version, orjson.dumps(s.state).decode()) for s in states]
    )
    collect_seldom()
    keys, port = Identities(servers.folder, [FOLLOWER, "cv-registry"]), free_port()
    ours, peer, ready = [], [], []
    try:
        async with _owner(theirs.settings.dsn, port, keys) as url:
            client = ServiceClient(url, "cv-registry", keys.signers[FOLLOWER])
            projection = replica_projection(HttpRegistry(client.post_json))
            for number in range(ROUNDS):
                servers.say(f"P4 round {number + 1} of {ROUNDS}")
                peer.append(
                    SINGLE / await _one_by_one(await _follower(servers), projection, states, asked=True)
                )
                ready.append(
                    SINGLE / await _one_by_one(await _follower(servers), projection, states, asked=False)
                )
                ours.append(CITIZENS / await _rebuilt(await _follower(servers), projection))
            client.close()
    finally:
        await things.database.close()
    name = f"P4 rebuild of {CITIZENS:,} citizens, subjects/s"
    return [
        Row.against(name, ours, peer, at_least=15),
        Row.against(f"{name}, against states at hand", ours, ready),
    ]


def _state(number: int) -> Known:
    relation = {"organisationType": 1, "organisationCode": f"{number % 98:03}", "from": "2025-01-01"}
    state = {
        "cvId": str(uuid4()),
        "personNumber": f"{number:010}",
        "cvNumber": f"{number:08}",
        "relations": [relation, {**relation, "organisationType": 4, "to": "2027-12-31"}],
        "contactGroup": number % 12 + 1,
        "enrolled": True,
        "dead": False,
        "nameProtected": False,
        "addressProtected": False,
    }
    return Known(uuid4(), 1_700_000_000_000_000 + number, state)


async def _follower(servers: Servers) -> Database:
    dsn = await servers.database()
    await migrate(dsn, "cv_status.migrations")
    return await Database.connect(PostgresSettings(dsn=dsn), "bench")


async def _rebuilt(database: Database, projection: Projection) -> float:
    if projection.owner is None:
        raise LookupError
    begun = time.perf_counter()
    await Rebuild(database, projection, projection.owner).step()
    seconds = time.perf_counter() - begun
    assert await database.fetchval("select count(*) from citizens") == CITIZENS
    await database.close()
    return seconds


async def _one_by_one(
    database: Database, projection: Projection, states: Sequence[Known], *, asked: bool
) -> float:
    """Follow as many events as `SINGLE`, each by itself; give the seconds it took."""
    await database.execute(
        "insert into projection_generations (projection, generation, status) values ($1, 1, 'live')",
        projection.name,
    )
    begun = time.perf_counter()
    async with database.pool.acquire() as conn:
        for state in states[:SINGLE]:
            announced = {state.subject: Announced(state.subject, state.version)}
            if asked:
                [found] = await projection.fetch([state.subject])
                assert isinstance(found, Known)
            else:
                found = state
            await settle(conn, projection, Work({found.subject: found}, announced), one_by_one=False)
    seconds = time.perf_counter() - begun
    assert await database.fetchval("select count(*) from citizens") == SINGLE
    await database.close()
    return seconds


@asynccontextmanager
async def _owner(dsn: str, port: int, keys: Identities) -> AsyncIterator[str]:
    told = {"BENCH_DSN": dsn, "BENCH_PORT": str(port), "BENCH_TRUSTED": str(keys.trusted_file)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.rebuild", env={**os.environ, **told}
    )
    try:
        await eventually(lambda: _answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _answers(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()


class _Owned(Things):
    """The same, without noting who asks."""

    async def page(self, after: UUID, limit: int) -> list[Stored]:
        rows = await self.database.fetch(
            "select id, version, state from things where id > $1 order by id limit $2", after, limit
        )
        return [Stored(*row) for row in rows]


def serve_owner() -> None:
    """Serve what the owner has, as the registry serves its citizens."""
    verifier = ServiceVerifier("cv-registry", load_trusted(Path(os.environ["BENCH_TRUSTED"])))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = await Database.connect(PostgresSettings(dsn=os.environ["BENCH_DSN"]), "bench-owner")
        owned = _Owned(database)
        app.state.owned = owned
        hot_states(routes, verifier, "/internal/citizens", owned, [FOLLOWER])
        yield
        await database.close()

    def owned_by(request: Request) -> _Owned:
        owned: _Owned = request.app.state.owned
        return owned

    app = FastAPI(lifespan=lifespan)
    install(app, verifier)
    app.include_router(state_routes("/internal/citizens", owned_by, [FOLLOWER]))
    routes = Routes(app, HttpSettings(), Health())
    port = int(os.environ["BENCH_PORT"])
    uvicorn.run(routes, port=port, loop="uvloop", http="httptools", log_level="warning")


if __name__ == "__main__":
    serve_owner()
