"""One process at a time: an advisory lock that is held as long as the connection it was taken on lives."""

from typing import Any, Final

import asyncpg

from servicekit.data.postgres import Database, lock_number
from servicekit.data.sessions import lease_connection

__all__ = ["Lease"]

ANSWER_WITHIN: Final = 2.0


class Lease:
    """The right to write what all instances read. Ask before each step: whoever was cut off has lost it."""

    def __init__(self, database: Database, name: str) -> None:
        self._settings = database.settings
        self._name = name
        self._connection: asyncpg.Connection[Any] | None = None
        self._held = False

    async def mine(self) -> bool:
        """Take the lease if it is free; tell whether it is held here."""
        try:
            if self._connection is None:
                self._connection = await lease_connection(self._settings, self._name)
            if self._held:
                await self._connection.fetchval("select 1", timeout=ANSWER_WITHIN)
            else:
                lock = lock_number(self._name)
                self._held = bool(await self._connection.fetchval("select pg_try_advisory_lock($1)", lock))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.let_go()
            raise
        return self._held

    def let_go(self) -> None:
        """Give it up, with the connection."""
        connection, self._connection, self._held = self._connection, None, False
        if connection is not None:
            connection.terminate()
