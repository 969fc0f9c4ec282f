"""For tests of followers and their rebuilds: a small owner with a database of its own, called over TCP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self, cast
from uuid import UUID

import orjson
import uvicorn
from fastapi import FastAPI, Request
from starlette.types import ASGIApp

from servicekit.data.postgres import Database
from servicekit.follow.state_client import HttpStates
from servicekit.follow.state_routes import Stored, Versions, hot_states, state_routes
from servicekit.settings import HttpSettings
from servicekit.testing import eventually
from servicekit.web.client import ServiceClient
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.identity import ServiceSigner, ServiceVerifier

__all__ = ["Things", "client_of", "owner_app", "serving", "without_ledger"]

PREFIX = "/internal/things"


def without_ledger() -> Versions:
    """`Versions` for a stand-in owner without a database: no erasures; `/ranges` and `/versions` cannot be called."""
    return Versions(cast("Database", None), "nothing", "nobody")


class Things:
    """What the owner has, in tables as real owners have them."""

    TABLES = """
    create table things (id uuid primary key, version bigint not null, state text not null);
    create table erasures (subject uuid primary key, version bigint not null)
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.versions = Versions(database, "things", "id", erased="true")
        self.pages: list[UUID] = []
        """After whom pages were asked for."""
        self.gate: asyncio.Event | None = None
        """While set, pages wait for it."""

    async def create(self) -> Self:
        await self.database.execute(self.TABLES)
        return self

    async def put(self, subject: UUID, version: int, **state: Any) -> None:
        await self.database.execute(
            """insert into things values ($1, $2, $3)
            on conflict (id) do update set version = excluded.version, state = excluded.state""",
            subject,
            version,
            orjson.dumps(state).decode(),
        )

    async def erase(self, subject: UUID, version: int) -> None:
        await self.database.execute(
            "with gone as (delete from things where id = $1) insert into erasures values ($1, $2)",
            subject,
            version,
        )

    async def all(self) -> dict[UUID, int]:
        return {row[0]: row[1] for row in await self.database.fetch("select id, version from things")}

    async def states(self, subjects: Sequence[UUID]) -> list[Stored]:
        rows = await self.database.fetch("select id, version, state from things where id = any($1)", subjects)
        return [Stored(*row) for row in rows]

    async def page(self, after: UUID, limit: int) -> list[Stored]:
        self.pages.append(after)
        if self.gate is not None:
            await self.gate.wait()
        rows = await self.database.fetch(
            "select id, version, state from things where id > $1 order by id limit $2", after, limit
        )
        return [Stored(*row) for row in rows]


def owner_app(things: Things, verifier: ServiceVerifier, *allowed: str) -> Routes:
    """Make the owner's application."""

    def source(_request: Request) -> Things:
        return things

    app = FastAPI(openapi_url=None)
    install(app, verifier)
    app.include_router(state_routes(PREFIX, source, allowed))
    routes = Routes(app, HttpSettings(), Health())
    hot_states(routes, verifier, PREFIX, things, allowed)
    return routes


def client_of(url: str, signer: ServiceSigner, audience: str = "owner") -> tuple[ServiceClient, HttpStates]:
    """Give the way to the owner at `url`; close the client in the end."""
    client = ServiceClient(url, audience, signer)
    return client, HttpStates(client.post_json, PREFIX)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, port: int) -> AsyncIterator[str]:
    """Serve an application over TCP in this process; gives its URL."""
    config = uvicorn.Config(
        app, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # noqa: SLF001 - serve() would take the test's signals
    await eventually(lambda: server.started or task.done())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
