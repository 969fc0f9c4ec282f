"""How the server treats a session with the database: what it allows, and when it takes the other side for gone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import asyncpg

from servicekit.settings import PostgresSettings

if TYPE_CHECKING:
    OwnConnection = asyncpg.Connection[asyncpg.Record]

__all__ = ["LEASE_SESSION", "SEEN_TO_BE_GONE", "lease_connection", "server_settings"]

SEEN_TO_BE_GONE: Mapping[str, str] = {
    "tcp_keepalives_idle": "4",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""Settings by which a session whose machine is gone ends, and lets go of its locks, within some 10 s."""

LEASE_SESSION: Mapping[str, str] = {
    # A holder behind a proxy that still answers keep-alives loses the lease by this idle time-out; holders ping every few seconds.
    "idle_session_timeout": "30000",
}
"""What the settings of a session whose advisory lock is a lease have beyond those of every session."""


def server_settings(settings: PostgresSettings, application_name: str) -> dict[str, str]:
    """Give the session's settings as the server takes them (times in milliseconds)."""
    times = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    return {
        "application_name": application_name,
        **SEEN_TO_BE_GONE,
        **{name: str(round(getattr(settings, name).total_seconds() * 1000)) for name in times},
    }


async def lease_connection(
    settings: PostgresSettings,
    name: str,
    session: Mapping[str, str] | None = None,
    *,
    command_timeout: float | None = None,
) -> "OwnConnection":
    """Connect beside the pool for an advisory lock that is a lease; `command_timeout` in seconds, without it that of the settings.

    `session` has more settings of the session, and these win. Whoever lets go of the lease closes the connection.
    """
    if command_timeout is None:
        command_timeout = settings.command_timeout.total_seconds()
    return await asyncpg.connect(
        settings.dsn,
        timeout=settings.connect_timeout.total_seconds(),
        command_timeout=command_timeout,
        server_settings={**server_settings(settings, name), **LEASE_SESSION, **(session or {})},
    )
