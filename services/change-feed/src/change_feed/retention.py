"""How long the feed keeps its full sequence: whole partitions are dropped, the newest change of each CV and its hand-overs stay for ever."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

from change_feed.writing import position_of

if TYPE_CHECKING:
    OwnConnection = asyncpg.Connection[asyncpg.Record]

__all__ = ["drop_old"]

log = structlog.get_logger(__name__)

# Bounds of the partitions, the lowest first.
_PARTITIONS: Final = r"""
select (m.part)[1]::bigint as low, (m.part)[2]::bigint as high
from pg_inherits i join pg_class c on c.oid = i.inhrelid
cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\) TO \(''(\d+)''\)') as m(part)
where i.inhparent = 'entries'::regclass and c.relname <> 'entries_kept' order by 1
"""
_LOCK_WITHIN: Final = "set local lock_timeout = '1s'"
"""Who reads the feed waits behind the one who drops, so it waits for a back-up no longer than this and comes again."""
_DROP: Final = "select feed_drop_partition($1, $2)"
_FORGET_EXTRACTS: Final = "delete from extracts where made_at < $1"


async def drop_old(conn: "OwnConnection", retention: timedelta, extract_life: timedelta) -> int:
    """Drop the partitions whose entries are all older than the retention, and lists that nobody pages through any more."""
    now = datetime.now(UTC)
    oldest = position_of(now - retention)
    dropped = 0
    for row in await conn.fetch(_PARTITIONS):
        if row["high"] > oldest:
            break
        try:
            async with conn.transaction():
                await conn.execute(_LOCK_WITHIN)
                await conn.execute(_DROP, row["low"], row["high"])
        except asyncpg.LockNotAvailableError:
            log.warning("feed_partition_in_use", position=row["high"])
            break
        dropped += 1
        log.info("feed_partition_dropped", position=row["high"])
    await conn.execute(_FORGET_EXTRACTS, now - extract_life)
    return dropped
