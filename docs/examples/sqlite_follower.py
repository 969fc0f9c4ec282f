"""An example of a follower: keeps a table of CVs in SQLite in step with the change feed.

    python sqlite_follower.py https://the-gateway copy.sqlite

Headers that say who you are come from the environment: CVHUB_TOKEN, and CVHUB_HEADERS as JSON. The table `cvs` and the place in
the feed change in one transaction, so the copy is right at any moment, however often this program is killed.
"""

# ruff: noqa: INP001 - a program of its own

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from cvhub_feedclient import Event, Follower, Place, Present, Reader

TABLES = """
create table if not exists cvs (cv_id text primary key, cv_number text, version integer not null, change text);
create table if not exists applied (event_id text primary key);
create table if not exists place (only_row integer primary key check (only_row = 1), place text not null);
"""
SAVE = """
insert into cvs (cv_id, cv_number, version, change) values (?, ?, ?, ?)
on conflict (cv_id) do update set cv_number = excluded.cv_number, version = excluded.version, change = excluded.change
"""


class SqliteCopy:
    """The copy: each method is one transaction that holds the effect and the place."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.executescript(TABLES)

    async def place(self) -> Place:
        row = self._connection.execute("select place from place").fetchone()
        return Place() if row is None else Place.of(json.loads(row[0]))

    async def begin(self, place: Place) -> None:
        with self._transaction(place) as connection:
            connection.execute("delete from cvs")
            connection.execute("delete from applied")

    async def present(self, items: Sequence[Present], place: Place) -> None:
        with self._transaction(place) as connection:
            connection.executemany(SAVE, [(i.subject, i.cv_number, i.version, i.change) for i in items])

    async def happened(self, events: Sequence[Event], place: Place) -> None:
        with self._transaction(place) as connection:
            for event in events:
                # Only a feed that was restored from a back-up repeats itself; remembering the ids costs little.
                if connection.execute(
                    "select 1 from applied where event_id = ?", (event.event_id,)
                ).fetchone():
                    continue
                connection.execute("insert into applied values (?)", (event.event_id,))
                self._apply(connection, event)

    def close(self) -> None:
        self._connection.close()

    def _apply(self, connection: sqlite3.Connection, event: Event) -> None:
        if event.is_goodbye:
            connection.execute("delete from cvs where cv_id = ?", (event.subject,))
        elif event.kind == "cv-changed":
            connection.execute(SAVE, (event.subject, event.cv_number, event.version, event.change))

    @contextmanager
    def _transaction(self, place: Place) -> Iterator[sqlite3.Connection]:
        self._connection.execute("begin immediate")
        try:
            yield self._connection
            self._connection.execute(
                "insert or replace into place values (1, ?)", (json.dumps(place.to_dict()),)
            )
            self._connection.execute("commit")
        except BaseException:
            self._connection.execute("rollback")
            raise


async def main(gateway: str, file: Path) -> None:
    """Follow until killed."""
    headers = {
        "authorization": f"Bearer {os.environ['CVHUB_TOKEN']}",
        **json.loads(os.environ["CVHUB_HEADERS"]),
    }
    copy = SqliteCopy(file)
    try:
        async with httpx.AsyncClient(base_url=gateway, headers=headers, trust_env=False) as client:
            poll = timedelta(seconds=int(os.environ.get("CVHUB_POLL_SECONDS", "30")))
            await Follower(Reader(client), copy, poll=poll).run()
    finally:
        copy.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
