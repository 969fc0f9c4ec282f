"""An example of a follower: keeps a table of CVs in SQLite in step with the change feed.

    python sqlite_follower.py https://the-gateway copy.sqlite [anew]

Headers that say who you are come from the environment: CVHUB_TOKEN, and CVHUB_HEADERS as JSON. Or, so that it goes on when a token
ends, CVHUB_TOKEN_URL and CVHUB_TOKEN_FORM: where a new one is asked for, and the form for it as JSON. The table `cvs` and the place in
the feed change in one transaction, so the copy is right at any moment, however often this program is killed. Started twice on one
file, the one that comes later to a page ends by Overtaken and changes nothing. `anew` reads a new snapshot first, for when the feed takes the position no more (400).

A citizen who came to you is a row with version 0: a CV to fetch, if there is one; its first change tells the version.
"""

# ruff: noqa: INP001 - a program of its own

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from cvhub_feedclient import Event, Follower, Overtaken, Place, Present, Reader

TABLES = """
create table if not exists cvs (cv_id text primary key, cv_number text, version integer not null, change text);
create table if not exists place (only_row integer primary key check (only_row = 1), place text not null);
"""
SAVE = """
insert into cvs (cv_id, cv_number, version, change) values (?, ?, ?, ?)
on conflict (cv_id) do update set version = excluded.version, change = excluded.change where excluded.version > cvs.version
"""

CAME = "insert or ignore into cvs (cv_id, cv_number, version, change) values (?, ?, 0, 'came')"
NUMBER = "update cvs set cv_number = ? where cv_id = ?"


class Bearer(httpx.Auth):
    """Asks the identity provider for a token, and for another one when the gateway takes the last one no more."""

    requires_response_body = True

    def __init__(self, url: str, form: dict[str, str]) -> None:
        self._ask = httpx.Request("POST", url, data=form, extensions={"timeout": httpx.Timeout(10).as_dict()})
        self._token: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._token is None or (yield self._with_token(request)).status_code == httpx.codes.UNAUTHORIZED:
            answer = yield self._ask
            if answer.is_server_error:
                # The follower waits for what is away, and ends by what is refused.
                raise httpx.TransportError("no token now", request=self._ask)
            self._token = answer.raise_for_status().json()["access_token"]
            yield self._with_token(request)

    def _with_token(self, request: httpx.Request) -> httpx.Request:
        request.headers["authorization"] = f"Bearer {self._token}"
        return request


class SqliteCopy:
    """The copy: each method is one transaction that holds the effect and the place."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.executescript(TABLES)

    async def place(self) -> Place:
        row = self._connection.execute("select place from place").fetchone()
        return Place() if row is None else Place.of(json.loads(row[0]))

    async def begin(self, former: Place, place: Place) -> None:
        async with self._transaction(former, place) as connection:
            connection.execute("delete from cvs")

    async def present(self, items: Sequence[Present], former: Place, place: Place) -> None:
        async with self._transaction(former, place) as connection:
            connection.executemany(SAVE, [(i.subject, i.cv_number, i.version, i.change) for i in items])

    async def happened(self, events: Sequence[Event], former: Place, place: Place) -> None:
        async with self._transaction(former, place) as connection:
            # One that comes again (`place.repeats`) brings the new copy to where the old one was. Whoever did more by it than write a
            # row, a letter say, keeps the ids of events and does that once.
            for event in events:
                self._apply(connection, event)

    def close(self) -> None:
        self._connection.close()

    def _apply(self, connection: sqlite3.Connection, event: Event) -> None:
        if event.is_goodbye:
            connection.execute("delete from cvs where cv_id = ?", (event.subject,))
            return
        if event.kind == "cv-changed":
            connection.execute(SAVE, (event.subject, event.cv_number, event.version, event.change))
        elif event.has_come:
            connection.execute(CAME, (event.subject, event.cv_number))
        # Whatever tells of a CV tells its number of now, also what came late, and what is not about the CV itself. A deletion alone tells
        # one that may have been withdrawn.
        if (event.kind, event.change) != ("cv-changed", "deleted"):
            connection.execute(NUMBER, (event.cv_number, event.subject))

    @asynccontextmanager
    async def _transaction(self, former: Place, place: Place) -> AsyncIterator[sqlite3.Connection]:
        self._connection.execute("begin immediate")
        with self._connection:
            if await self.place() != former:
                raise Overtaken
            yield self._connection
            self._connection.execute(
                "insert or replace into place values (1, ?)", (json.dumps(place.to_dict()),)
            )


async def main(gateway: str, file: Path, *, anew: bool) -> None:
    """Follow until killed."""
    headers = json.loads(os.environ["CVHUB_HEADERS"])
    auth = None
    if url := os.environ.get("CVHUB_TOKEN_URL"):
        auth = Bearer(url, json.loads(os.environ["CVHUB_TOKEN_FORM"]))
    else:
        headers["authorization"] = f"Bearer {os.environ['CVHUB_TOKEN']}"
    copy = SqliteCopy(file)
    try:
        async with httpx.AsyncClient(base_url=gateway, headers=headers, auth=auth, trust_env=False) as client:
            poll = timedelta(seconds=int(os.environ.get("CVHUB_POLL_SECONDS", "30")))
            await Follower(Reader(client), copy, poll=poll).run(anew=anew)
    finally:
        copy.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), anew="anew" in sys.argv[3:]))
