"""Records that could not be read when they came: an operator hands them to the writer once this release reads them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from change_feed.log import FOLLOWED
from cv_contracts.topics import Topic
from servicekit.data.postgres import WriteTx
from servicekit.follow.records import Record, kept_record

__all__ = ["hand_over", "handed_over"]

AT_ONCE: Final = 500
_TOPICS: Final[Mapping[str, Topic]] = {topic.name: topic for topic in FOLLOWED}

_KEPT: Final = """
select id, topic, partition, "offset", key, headers, value from unreadable_records where projection = 'feed' and id = any($1)
"""
_HAND_OVER: Final = """
insert into rereads select id, topic, partition, "offset", key, headers, value from unreadable_records where id = any($1)
"""
_HANDED_OVER: Final = f"""
select id, topic, partition, "offset", key, headers, value from rereads order by id limit {AT_ONCE}
"""


async def hand_over(tx: WriteTx, ids: Sequence[int]) -> list[int]:
    """Hand over those that can be read now; gives their ids."""
    rows = await tx.conn.fetch(_KEPT, ids)
    readable = [row["id"] for row in rows if _readable(row)]
    await tx.conn.execute(_HAND_OVER, readable)
    return readable


async def handed_over(conn: Any) -> dict[int, Record]:
    """Give the next of those that wait for the writer, by id; one that another release could read waits for that."""
    return {row["id"]: record for row in await conn.fetch(_HANDED_OVER) if (record := _readable(row))}


def _readable(row: Any) -> Record | None:
    topic = _TOPICS.get(row["topic"])
    record = None if topic is None else kept_record(topic, row)
    return record if record is not None and record.event is not None else None
