"""What a service's projections have applied, for reads that bring a consistency token."""

from collections.abc import Mapping
from uuid import UUID

from servicekit.data.consistency import Applied, Current
from servicekit.data.postgres import Database

__all__ = ["applied_by"]

_VERSION = """
select v.version from projected_versions v join projection_generations g using (projection, generation)
where v.projection = $1 and g.status = 'live' and v.subject = $2
"""


def applied_by(database: Database, streams: Mapping[str, str]) -> Applied:
    """Give the versions that the live generations have, which is what a read sees; `streams` maps a topic to its projection.

    Waits end at once when the follower in this process applies the version; what another instance applied is seen
    a moment later.
    """
    return Applied({stream: _version_in(database, name) for stream, name in streams.items()})


def _version_in(database: Database, projection: str) -> Current:
    async def version(subject: UUID) -> int | None:
        found: int | None = await database.fetchval(_VERSION, projection, subject)
        return found

    return version
