"""How the server treats a session with the database: what it allows, and when it takes the other side for gone."""

from collections.abc import Mapping

from servicekit.settings import PostgresSettings

__all__ = ["LEASE_SESSION", "SEEN_TO_BE_GONE", "server_settings"]

SEEN_TO_BE_GONE: Mapping[str, str] = {
    "tcp_keepalives_idle": "4",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""Settings by which a session whose machine is gone ends, and lets go of its locks, within some 10 s."""

LEASE_SESSION: Mapping[str, str] = {
    # Who is cut off behind something which answers in its place loses the lease too: a holder speaks every few seconds.
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
