"""How long the feed keeps its full sequence: whole partitions are dropped, the newest change of each CV and its hand-overs stay for ever."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import structlog

from change_feed.placing import HANDED_OVER
from change_feed.writing import position_of

if TYPE_CHECKING:
    OwnConnection = asyncpg.Connection[asyncpg.Record]

__all__ = ["drop_old"]

log = structlog.get_logger(__name__)

Statement = tuple[Any, ...]
"""SQL and its arguments."""

# Bounds of the partitions, the lowest first.
_PARTITIONS: Final = r"""
select (m.part)[1]::bigint as low, (m.part)[2]::bigint as high
from pg_inherits i join pg_class c on c.oid = i.inhrelid
cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\) TO \(''(\d+)''\)') as m(part)
where i.inhparent = 'entries'::regclass and c.relname <> 'entries_kept' order by 1
"""
LOCKED_WITHIN: Final = 1.0
"""Seconds. Who reads the feed waits behind the one who drops, so it waits for a back-up no longer than this and comes again."""
WITHIN: Final = 120.0
"""Seconds for each step of a drop, far more than it needs: where it is not enough, partitions stay until somebody sees to it."""
ANSWERED_WITHIN: Final = WITHIN + 5
"""Seconds, after the server's own limit."""

_BOUND: Final = "select feed_bound_kept($1)"
_VALIDATE: Final[Sequence[Statement]] = (
    ("alter table audience_kept validate constraint below_next",),
    ("alter table entries_kept validate constraint below_next",),
)
_DROP: Final = "select feed_drop_partition($1, $2)"
# Nobody waits for these.
_FORGET: Final[Sequence[Statement]] = (
    (
        f"""
        delete from entries_kept e where not exists (
            select from cvs c where c.cv_id = e.cv_id and c.newest_position = e.position
        ) and not (e.type = '{HANDED_OVER}' and exists (
            select from members m where m.cv_id = e.cv_id and coalesce(m.until, m.since) = e.position
        ))
        """,
    ),
    (
        "delete from audience_kept a where not exists (select from entries_kept e where e.position = a.position)",
    ),
    ("delete from seen_events where position < (select floor from feed)",),
)
_FORGET_EXTRACTS: Final = "delete from extracts where made_at < $1"


async def drop_old(conn: "OwnConnection", retention: timedelta, extract_life: timedelta) -> int:
    """Drop the partitions whose entries are all older than the retention, and lists that nobody pages through any more.

    A partition that cannot be dropped now stays, and all that come after it; that is told in the log, not raised.
    """
    now = datetime.now(UTC)
    oldest = position_of(now - retention)
    dropped = 0
    for row in await conn.fetch(_PARTITIONS):
        low, high = row["low"], row["high"]
        steps = [[(_BOUND, high)], _VALIDATE, [(_DROP, low, high)]]
        if high > oldest or not await _taken(conn, steps, "feed_partition_not_dropped", high):
            break
        dropped += 1
        log.info("feed_partition_dropped", position=high)
        await _taken(conn, [_FORGET], "feed_leftovers_not_deleted", high)
    await conn.execute(_FORGET_EXTRACTS, now - extract_life)
    return dropped


async def _taken(
    conn: "OwnConnection", steps: Sequence[Sequence[Statement]], otherwise: str, position: int
) -> bool:
    """Take steps, each in a transaction of its own; tells whether there was time for all of them, and logs if not."""
    limits = f"set local lock_timeout = '{LOCKED_WITHIN}s'; set local statement_timeout = '{WITHIN}s'"
    try:
        for statements in steps:
            async with conn.transaction():
                await conn.execute(limits)
                for sql, *arguments in statements:
                    await conn.execute(sql, *arguments, timeout=ANSWERED_WITHIN)
    except asyncpg.LockNotAvailableError:
        log.warning("feed_partition_in_use", position=position)
        return False
    except (asyncpg.QueryCanceledError, TimeoutError) as error:
        log.error(otherwise, position=position, error_type=type(error).__name__)  # noqa: TRY400 - which is all there is to say
        return False
    return True
