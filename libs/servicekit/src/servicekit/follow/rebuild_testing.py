"""For tests of rebuilds: an owner over TCP, and a follower's database with one projection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from servicekit.data.postgres import Database
from servicekit.follow.batch import Work, settle
from servicekit.follow.owner_testing import Things, client_of, owner_app, serving
from servicekit.follow.projection import Announced, Connection, Projection
from servicekit.follow.rebuild import Rebuild
from servicekit.follow.state_client import HttpStates
from servicekit.follow.states import Erased, Known
from servicekit.follow.testing import CITIZENS, Copies
from servicekit.settings import PostgresSettings
from servicekit.testing import end, eventually, free_port
from servicekit.web.testing import Identities

__all__ = ["RemovableCopies", "World", "filled", "rows", "running", "world_of"]


@dataclass
class World:
    """An owner over TCP, and a follower's database with one projection."""

    things: Things
    database: Database
    copies: Copies
    owner: HttpStates
    projection: Projection
    app: Any
    port: int

    def rebuild(self) -> Rebuild:
        return Rebuild(self.database, self.projection, self.owner)

    async def begin(self) -> int:
        """Begin a build, for a builder that looks once."""
        await self.lease_is_free()
        generations = self.rebuild().generations
        async with self.database.write(generations.key) as tx:
            return (await generations.start(tx)).number

    async def lease_is_free(self) -> None:
        """Wait until the server has noticed that builders before, or their connections, are gone."""
        locks = """select count(*) from pg_locks where locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())"""

        async def all_are_gone() -> bool:
            return bool(await self.database.fetchval(locks) == 0)

        await eventually(all_are_gone)

    async def follow(self, *subjects: UUID) -> None:
        """Do what a batch of records about these subjects does."""
        states = {s.subject: s for s in await self.owner.states(subjects) if isinstance(s, Known | Erased)}
        announced = {s: Announced(s, state.version) for s, state in states.items()}
        async with self.database.pool.acquire() as conn:
            await settle(conn, self.projection, Work(dict(states), announced), one_by_one=False)

    async def generations(self) -> dict[int, str]:
        rows = await self.database.fetch("select generation, status from projection_generations order by 1")
        return {row[0]: row[1] for row in rows}

    async def live(self) -> int | None:
        number = await self.database.fetchval(
            "select generation from projection_generations where status = 'live'"
        )
        return None if number is None else int(number)

    async def is_whole(self, generation: int) -> bool:
        """Say whether the generation is live, alone, and all that the owner has."""
        assert await self.generations() == {generation: "live"}  # noqa: S101 - only tests call this
        assert await self.copies.versions(generation) == await self.things.all()  # noqa: S101 - only tests call this
        return True


class RemovableCopies(Copies):
    async def remove(self, conn: Connection, generation: int, subjects: Sequence[UUID]) -> None:
        await conn.execute(
            "delete from copies where generation = $1 and subject = any($2)", generation, subjects
        )


@contextlib.asynccontextmanager
async def world_of(own: PostgresSettings, owners: PostgresSettings, keys: Path) -> AsyncIterator[World]:
    """Serve an owner that has its states in one database to a follower that has its projection in the other.

    `keys` is a folder for those by which the two know each other.
    """
    database = await Database.connect(own, "rebuild-tests")
    owners_database = await Database.connect(owners, "owner-tests")
    things = await Things(owners_database).create()
    copies = RemovableCopies(database)
    await copies.create()
    identities, port = Identities(keys, ["follower", "owner"]), free_port()
    app = owner_app(things, identities.verifier("owner"), "follower")
    client, owner = client_of(f"http://127.0.0.1:{port}", identities.signers["follower"])
    projection = Projection(
        name="copies",
        topic=CITIZENS,
        fetch=owner.states,
        apply=copies.apply,
        owner=owner,
        remove=copies.remove,
    )
    async with serving(app, port):
        yield World(things, database, copies, owner, projection, app, port)
    client.close()
    await owners_database.close()
    await database.close()


@contextlib.asynccontextmanager
async def running(*rebuilds: Rebuild) -> AsyncIterator[None]:
    """Run rebuilds for the time of a block; raises what one of them had died of."""
    tasks = [asyncio.create_task(rebuild.run()) for rebuild in rebuilds]
    try:
        yield
    finally:
        await end(*tasks)


async def filled(world: World, count: int = 50) -> list[UUID]:
    subjects = [uuid4() for _ in range(count)]
    for subject in subjects:
        await world.things.put(subject, 1, name="a")
    return subjects


async def rows(world: World, count: int) -> bool:
    return bool(await world.database.fetchval("select rows from projection_generations") == count)
