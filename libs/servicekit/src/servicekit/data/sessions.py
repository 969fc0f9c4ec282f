"""How the server treats a session with the database: what it allows, and when it takes the other side for gone."""

from collections.abc import Mapping

from servicekit.settings import PostgresSettings

__all__ = ["LEASE_SESSION", "server_settings"]

LEASE_SESSION: Mapping[str, str] = {
    # A holder whose machine is gone loses its lease within some 10 s.
    "tcp_keepalives_idle": "4",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    # One that is cut off behind something which answers in its place loses it too: a holder speaks every few seconds.
    "idle_session_timeout": "30000",
}
"""Settings of a session whose advisory lock is a lease."""


def server_settings(settings: PostgresSettings, application_name: str) -> dict[str, str]:
    """Give the session's settings as the server takes them (times in milliseconds)."""
    times = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    return {
        "application_name": application_name,
        **{name: str(round(getattr(settings, name).total_seconds() * 1000)) for name in times},
    }
