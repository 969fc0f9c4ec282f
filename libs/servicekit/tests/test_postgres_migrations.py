import asyncio
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from cvhub.testing import FreshDatabase
from servicekit.data import migrating
from servicekit.data.postgres import Database, MigrationChanged, migrate
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / f"migrations_{tmp_path.name}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "0001_init.sql").write_text("create table one (n int); insert into one values (1);")
    (folder / "0002_more.sql").write_text("create table two (n int);\ninsert into one values (2);")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


async def numbers(dsn: str) -> list[int]:
    conn = await asyncpg.connect(dsn)
    rows = await conn.fetch("select n from one order by n")
    await conn.close()
    return [row["n"] for row in rows]


async def test_our_own_tables_come_first_then_the_service_s_and_a_repeat_does_nothing(
    fresh_database: FreshDatabase, package: Path
) -> None:
    dsn = (await fresh_database()).dsn
    applied = await migrate(dsn, package.name)
    assert applied[0] == "0001_outbox.sql"
    assert applied[-2:] == ["0001_init.sql", "0002_more.sql"]
    assert await migrate(dsn, package.name) == []
    assert await numbers(dsn) == [1, 2]


async def test_five_starters_at_once_apply_each_migration_once(
    fresh_database: FreshDatabase, package: Path
) -> None:
    dsn = (await fresh_database()).dsn
    applied = await asyncio.gather(*(migrate(dsn, package.name) for _ in range(5)))
    assert sum(bool(names) for names in applied) == 1
    assert await numbers(dsn) == [1, 2]


async def test_a_new_number_is_applied_alone(fresh_database: FreshDatabase, package: Path) -> None:
    dsn = (await fresh_database()).dsn
    await migrate(dsn, package.name)
    (package / "0003_third.sql").write_text("insert into one values (3)")
    assert await migrate(dsn, package.name) == ["0003_third.sql"]


async def test_a_changed_migration_is_refused_and_the_error_says_what_to_do(
    fresh_database: FreshDatabase, package: Path
) -> None:
    dsn = (await fresh_database()).dsn
    await migrate(dsn, package.name)
    (package / "0001_init.sql").write_text("create table one (n bigint)")
    (package / "0003_third.sql").write_text("insert into one values (3)")
    with pytest.raises(MigrationChanged, match=r"0001_init\.sql.*Restore the file.*next number"):
        await migrate(dsn, package.name)
    assert await numbers(dsn) == [1, 2]


async def test_other_line_ends_are_no_change(fresh_database: FreshDatabase, package: Path) -> None:
    dsn = (await fresh_database()).dsn
    await migrate(dsn, package.name)
    file = package / "0002_more.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert await migrate(dsn, package.name) == []


async def test_a_migration_that_fails_leaves_the_ones_before_it_and_nothing_of_itself(
    fresh_database: FreshDatabase, package: Path
) -> None:
    dsn = (await fresh_database()).dsn
    (package / "0002_more.sql").write_text("insert into one values (2); select * from nothing;")
    with pytest.raises(asyncpg.UndefinedTableError), capture_logs() as said:
        await migrate(dsn, package.name)
    assert [(entry["event"], entry.get("migration")) for entry in said] == [
        ("migration_failed", "0002_more.sql")
    ]
    assert await numbers(dsn) == [1]
    (package / "0002_more.sql").write_text("insert into one values (2)")
    assert await migrate(dsn, package.name) == ["0002_more.sql"]


async def test_two_files_with_one_number_are_refused(fresh_database: FreshDatabase, package: Path) -> None:
    dsn = (await fresh_database()).dsn
    (package / "0002_again.sql").write_text("select 1")
    with pytest.raises(ValueError, match="same number"):
        await migrate(dsn, package.name)


async def test_the_tables_of_the_outbox_are_named_as_debezium_s_router_reads_them(
    fresh_database: FreshDatabase,
) -> None:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "test")
    rows = await database.fetch(
        "select column_name from information_schema.columns where table_name = 'outbox'"
    )
    await database.close()
    names = {row["column_name"] for row in rows}
    assert {"id", "aggregatetype", "aggregateid", "type", "payload", "tracingspancontext"} <= names


async def test_a_migration_that_waits_for_a_back_up_keeps_nobody_waiting_for_long(
    fresh_database: FreshDatabase, package: Path
) -> None:
    dsn = (await fresh_database()).dsn
    await migrate(dsn, package.name)
    (package / "0003_third.sql").write_text("alter table one add column m int; insert into one values (3)")
    reader = await asyncpg.connect(dsn)
    async with reader.transaction():
        await reader.execute("lock table one in access share mode")
        with capture_logs() as said:
            upgrade = asyncio.create_task(migrate(dsn, package.name))
            await eventually(lambda: waits_for_a_lock(reader))
            async with asyncio.timeout(5):
                assert await numbers(dsn) == [1, 2]
            await eventually(lambda: len(said) > 1)
    assert await upgrade == ["0003_third.sql"]
    assert {(one["event"], one["log_level"], one["migration"]) for one in said} == {
        ("migration_waits", "warning", "0003_third.sql")
    }
    assert await numbers(dsn) == [1, 2, 3]
    await reader.close()


async def test_who_has_nothing_to_apply_starts_while_another_s_migration_waits_for_a_back_up(
    fresh_database: FreshDatabase, package: Path
) -> None:
    dsn = (await fresh_database()).dsn
    await migrate(dsn, package.name)
    newer = package / "0003_third.sql"
    newer.write_text("alter table one add column m int")
    reader = await asyncpg.connect(dsn)
    async with reader.transaction():
        await reader.execute("lock table one in access share mode")
        upgrade = asyncio.create_task(migrate(dsn, package.name))
        await eventually(lambda: waits_for_a_lock(reader))
        newer.unlink()
        async with asyncio.timeout(5):
            assert await migrate(dsn, package.name) == []
        assert not upgrade.done()
    assert await upgrade == ["0003_third.sql"]
    await reader.close()


async def test_a_migration_that_meets_a_writer_crosswise_is_tried_again(
    fresh_database: FreshDatabase, package: Path
) -> None:
    dsn = (await fresh_database()).dsn
    await migrate(dsn, package.name)
    (package / "0003_third.sql").write_text(
        "alter table two add column m int; alter table one add column m int"
    )
    writer = await asyncpg.connect(dsn, server_settings={"deadlock_timeout": "60s"})
    async with writer.transaction():
        await writer.execute("lock table one in share mode")
        upgrade = asyncio.create_task(migrate(dsn, package.name))
        await eventually(lambda: waits_for_a_lock(writer))
        await writer.execute("lock table two in share mode")
    assert await upgrade == ["0003_third.sql"]
    await writer.close()


async def waits_for_a_lock(conn: "asyncpg.Connection[asyncpg.Record]") -> bool:
    asked = "select exists (select from pg_locks where relation = 'one'::regclass and not granted)"
    return bool(await conn.fetchval(asked))


async def test_a_starter_that_is_cut_off_lets_the_others_go_on(
    fresh_database: FreshDatabase, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, begun = (await fresh_database()).dsn, asyncio.Event()

    async def stands_still(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as silent:
        silent.setitem(migrating._SESSION, "idle_session_timeout", "500")
        silent.setattr(migrating, "_bring_up_to_date", stands_still)
        cut_off = asyncio.create_task(migrate(dsn))
        await begun.wait()
    async with asyncio.timeout(20):
        assert await migrate(dsn, package.name)
    cut_off.cancel()
    await asyncio.wait([cut_off])
