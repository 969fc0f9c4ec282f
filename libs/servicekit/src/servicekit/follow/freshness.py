"""Is a followed subject as fresh as access decisions need? Its partition heard a heartbeat made lately and lacks no records, and it does not wait."""

from datetime import timedelta

from cv_contracts.topics import Topic

__all__ = ["CLOCKS_DIFFER", "FRESH_FOR", "fresh_sql"]

FRESH_FOR = timedelta(seconds=30)
"""Stale access never outlives this."""
CLOCKS_DIFFER = timedelta(seconds=5)
"""A heartbeat made further in the future than this comes from a clock that is wrong, and proves nothing."""


def fresh_sql(projection: str, topic: Topic, *, subject: str, partition: str) -> str:
    """Give an SQL condition: the subject in `partition` is fresh. Both are SQL expressions of the query around it.

    A heartbeat counts from when it was made at the producer, so a slow broker or follower cannot make old data look new. After a
    gap in a partition no heartbeat says anything about what was in it, until the projection is built anew.
    """
    _plain(projection)
    _plain(topic.name)
    return (
        f"(exists (select 1 from follow_positions f where f.projection = '{projection}' and f.topic = '{topic.name}'"
        f" and f.partition = {partition} and f.gap_at is null and f.heartbeat_at > now() - interval '{FRESH_FOR.total_seconds():g} seconds'"
        f" and f.heartbeat_at < now() + interval '{CLOCKS_DIFFER.total_seconds():g} seconds')"
        f" and not exists (select 1 from pending_subjects p"
        f" where p.projection = '{projection}' and p.subject = {subject}))"
    )


def _plain(name: str) -> None:
    if not name.replace("-", "").replace(".", "").replace("_", "").isalnum():
        raise ValueError("a name in SQL has letters, digits, dots and dashes only")
