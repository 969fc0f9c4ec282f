"""PostgreSQL as it can be: closed, without room, with deadlocks, with a writer that has gone to sleep."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import asyncpg
from tests.drills.drill import Scene, drill
from tests.drills.records import poison_is_set_aside, send_poison, set_aside
from tests.e2e.system import REGISTRY

from cvhub.services import SERVICES
from servicekit.data.postgres import lock_number
from servicekit.data.sessions import server_settings
from servicekit.settings import PostgresSettings
from servicekit.testing import eventually

STATUS = "cv-status"
DATABASES = tuple(service.database for service in SERVICES if service.migrations)
STUCK_WITHIN = timedelta(seconds=240)
_END_SESSIONS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = any(array{})"


@drill(16, "PostgreSQL refuses connections for 30 s")
async def postgres_refuses(scene: Scene) -> None:
    await scene.system.as_superuser(
        *(f"alter database {name} allow_connections false" for name in DATABASES),
        _END_SESSIONS.format(list(DATABASES)),
    )
    await scene.lasts(30)
    await scene.system.as_superuser(*(f"alter database {name} allow_connections true" for name in DATABASES))


@drill(16, "the registry gets two connections of PostgreSQL and no more, for 20 s")
async def connections_exhausted(scene: Scene) -> None:
    await scene.system.as_superuser(
        "alter role cv_registry connection limit 2", _END_SESSIONS.format(["cv_registry"])
    )
    await scene.lasts(20)
    await scene.system.as_superuser("alter role cv_registry connection limit -1")


@drill(17, "each fifth write of registry and cv-status is a deadlock, each fifth a serialization failure")
async def deadlocks(scene: Scene) -> None:
    async with _failing(scene, "outbox", ("40P01", "40001")):
        await scene.lasts(15)


@drill(19, "the disk is full for each second row of the outbox, for 15 s")
async def outbox_disk_full(scene: Scene) -> None:
    async with _failing(scene, "outbox", ("53100",), every=2):
        await scene.lasts(15)


@drill(
    22,
    "nothing can be set aside: pending rows are refused while cv-status is away, then unreadable ones for 15 s",
)
async def nothing_set_aside(scene: Scene) -> None:
    before = await set_aside(scene.system)
    async with (
        _failing(scene, "pending_subjects", ("53100",), every=1),
        _failing(scene, "unreadable_records", ("53100",), every=1),
    ):
        async with _positions_locked(scene, "cv_registry"):
            await scene.press.setters.has_grown(5)
            await scene.kill(STATUS)
        await eventually(partial(_are_refused, scene, "pending_subjects", REGISTRY))
        await scene.revive(STATUS)
        await send_poison(scene.system)
        for service in (REGISTRY, STATUS):
            await eventually(partial(_are_refused, scene, "unreadable_records", service))
        await scene.kill(STATUS)
        await scene.lasts(15)
    await scene.revive(STATUS)
    await poison_is_set_aside(scene.system, before)


@asynccontextmanager
async def _failing(scene: Scene, table: str, codes: tuple[str, ...], every: int = 5) -> AsyncIterator[None]:
    """Let registry and cv-status be refused inserts with these codes, each for one insert out of so many.

    A sequence counts them: it alone outlives the transactions that are refused.
    """
    raising = " ".join(
        f"if random() < 1.0 / {every} then perform nextval('drill_{table}_refused'); raise exception 'a drill' using errcode = '{code}'; end if;"
        for code in codes
    )
    make = (
        f"create sequence drill_{table}_refused",
        f"create function drill_{table}() returns trigger language plpgsql as $$ begin {raising} return new; end $$",
        f"create trigger drill_{table} before insert on {table} for each row execute function drill_{table}()",
    )
    for service in (REGISTRY, STATUS):
        for statement in make:
            await scene.system.rows(statement, service=service)
    try:
        yield
    finally:
        for service in (REGISTRY, STATUS):
            await scene.system.rows(f"drop function if exists drill_{table} cascade", service=service)
            await scene.system.rows(f"drop sequence if exists drill_{table}_refused", service=service)


async def _are_refused(scene: Scene, table: str, service: str) -> bool:
    refused = await scene.system.value(f"select is_called from drill_{table}_refused", service=service)
    return bool(refused)


@drill(18, "a writer of the registry goes to sleep in its transaction, with a citizen's key")
async def idle_in_transaction(scene: Scene) -> None:
    dsn, key = scene.system.dsn(), f"cv {next(iter(scene.press.writers.keys))}"
    sleeper = await asyncpg.connect(dsn, server_settings=server_settings(PostgresSettings(dsn=dsn), "drill"))
    try:
        await sleeper.execute("begin")
        await sleeper.execute(f"select pg_advisory_xact_lock({lock_number(key)})")
        await eventually(sleeper.is_closed, timedelta(seconds=60))
    finally:
        sleeper.terminate()


@drill(14, "cv-status can get nowhere, as its positions are locked: it ends by itself and is started anew")
async def follower_stuck(scene: Scene) -> None:
    async with _positions_locked(scene, "cv_status"):
        stuck = scene.system.process(STATUS)
        await eventually(lambda: not stuck.running, STUCK_WITHIN, timedelta(seconds=1))


@asynccontextmanager
async def _positions_locked(scene: Scene, database: str) -> AsyncIterator[None]:
    """Let a service get nowhere with what it follows."""
    dsn = scene.system.postgres.dsn.rpartition("/")[0] + f"/{database}"
    locker = await asyncpg.connect(dsn, timeout=10)
    try:
        async with locker.transaction():
            await locker.execute("lock table follow_positions in exclusive mode")
            yield
    finally:
        await asyncio.wait_for(locker.close(), 10)
