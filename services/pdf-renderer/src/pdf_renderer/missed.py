"""Records that were gone before anybody read them: there may have been erasures among them, so the owners are asked again."""

from typing import Final

from servicekit.data.postgres import Database

__all__ = ["ask_again"]

LONGEST: Final = 600
"""Seconds that it may take: with millions of documents it is longer than any call may ask of the database."""
# Only cv-status's word about CVs with a frozen version is asked for: of the others it may never have heard.
# One statement: the rows that wait take the place of the gap. Nothing that is held is looked at where there is none.
_ASK_AGAIN: Final = """
with closed as (
    update follow_positions set gap_at = null where gap_at is not null returning projection
)
insert into pending_subjects (projection, subject, version, next_try, reason)
select missed.projection, held.subject, 0, now(), 'unreadable'
from (select distinct projection from closed) missed cross join lateral (
    select person_id as subject from documents where missed.projection = 'citizens'
    union select cv_id from documents where missed.projection = 'statuses' and kind = 'frozen'
    union select cv_id from ahead where missed.projection = 'statuses'
) held
on conflict (projection, subject) do nothing
"""


async def ask_again(database: Database) -> None:
    """Let whatever is held of a stream with a gap wait for its owner's word, which says who was erased meanwhile."""
    async with database.pool.acquire(timeout=5) as conn, conn.transaction():
        await conn.execute(f"set local statement_timeout = '{LONGEST}s'")
        await conn.execute(_ASK_AGAIN, timeout=LONGEST)
