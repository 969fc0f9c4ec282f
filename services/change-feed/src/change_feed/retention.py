"""How long the feed keeps its full sequence: whole partitions are dropped, the newest change of each CV and its hand-overs stay for ever."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import asyncpg
import structlog

from change_feed.placing import HANDED_OVER
from change_feed.writing import position_of
from cv_citizens.danish_time import Clock, utc_now

if TYPE_CHECKING:
    OwnConnection = asyncpg.Connection[asyncpg.Record]

__all__ = ["Outcome", "drop_oldest"]

log = structlog.get_logger(__name__)

Statement = tuple[Any, ...]
"""SQL and its arguments."""
Outcome = Literal["done", "more", "in use", "too slow", "clocks differ"]
"""Whether nothing is left to be dropped; if so, whether another one can be dropped at once, or why none could be."""

# Bounds of the partitions, the lowest first.
_PARTITIONS: Final = r"""
select (m.part)[1]::bigint as low, (m.part)[2]::bigint as high
from pg_inherits i join pg_class c on c.oid = i.inhrelid
cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(\d+)''\) TO \(''(\d+)''\)') as m(part)
where i.inhparent = 'entries'::regclass and c.relname <> 'entries_kept' order by 1
"""
CLOCKS_APART: Final = timedelta(minutes=1)
LOCKED_WITHIN: Final = 1.0
"""Seconds. Who reads the feed waits behind the one who drops, so it waits for a back-up no longer than this and comes again."""
WITHIN: Final = 120.0
"""Seconds for each step of a drop, far more than it needs: where it is not enough, partitions stay, and it comes again a day later."""
ANSWERED_WITHIN: Final = WITHIN + 5
"""Seconds, after the server's own limit."""

_BOUND: Final = "select feed_bound_kept($1)"
_VALIDATE: Final[Sequence[Statement]] = (
    ("alter table audience_kept validate constraint below_next",),
    ("alter table entries_kept validate constraint below_next",),
)
_DROP: Final = "select feed_drop_partition($1, $2)"
# No reader waits for these. An entry goes in one step with its audience: a page that finds fewer entries than it has chosen takes
# itself for the last one.
_FORGET: Final[Sequence[Sequence[Statement]]] = (
    (("delete from seen_events where position < (select floor from feed)",),),
    (
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
    ),
)
_FORGET_EXTRACTS: Final = "delete from extracts where made_at < $1"


async def drop_oldest(
    conn: "OwnConnection",
    retention: timedelta,
    extract_life: timedelta,
    clock: Clock = utc_now,
    *,
    leftovers: bool = False,
) -> Outcome:
    """Drop the oldest partition if all its entries are older than the retention, and lists that nobody pages through any more.

    One at a time, for the writer waits meanwhile. One that cannot be dropped now stays, and all that come after it; that is told in
    the log, not raised. Nothing is dropped while this clock and the database's differ: either may be the one that is wrong.
    Pass `leftovers` after any outcome but "done": what dropped partitions left behind is then deleted, also where none is left to
    be dropped.
    """
    now = clock()
    apart = abs(now - await conn.fetchval("select clock_timestamp()"))
    if apart > CLOCKS_APART:
        log.error("feed_clocks_differ", seconds=round(apart.total_seconds()))
        return "clocks differ"
    await conn.execute(_FORGET_EXTRACTS, now - extract_life)
    oldest = position_of(now - retention)
    old = [(row["low"], row["high"]) for row in await conn.fetch(_PARTITIONS) if row["high"] <= oldest]
    if not old and not leftovers:
        return "done"
    if old:
        low, high = old[0]
        steps = [[(_BOUND, high)], _VALIDATE, [(_DROP, low, high)]]
        outcome = await _taken(conn, steps, "feed_partition_not_dropped", high)
        if outcome != "done":
            return outcome
        log.info("feed_partition_dropped", position=high)
        if len(old) > 1:
            return "more"
    return await _taken(conn, _FORGET, "feed_leftovers_not_deleted", oldest)


async def _taken(
    conn: "OwnConnection", steps: Sequence[Sequence[Statement]], otherwise: str, position: int
) -> Outcome:
    """Take steps, each in a transaction of its own; tells whether there was time for all of them, and logs if not."""
    limits = f"set local lock_timeout = '{LOCKED_WITHIN}s'; set local statement_timeout = '{WITHIN}s'"
    try:
        for statements in steps:
            async with conn.transaction():
                await conn.execute(limits)
                for sql, *arguments in statements:
                    await conn.execute(sql, *arguments, timeout=ANSWERED_WITHIN)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        log.warning("feed_partition_in_use", position=position)
        return "in use"
    except (asyncpg.QueryCanceledError, TimeoutError) as error:
        log.error(otherwise, position=position, error_type=type(error).__name__)  # noqa: TRY400 - which is all there is to say
        return "too slow"
    return "done"
