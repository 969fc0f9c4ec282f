"""Is a followed subject as fresh as access decisions need? Its partition heard a heartbeat made lately and lacks no records, and it does not wait."""

from datetime import timedelta

from cv_contracts.topics import Topic

__all__ = ["CLOCKS_DIFFER", "FRESH_FOR", "fresh_partitions_sql", "fresh_sql", "pending_sql"]

FRESH_FOR = timedelta(seconds=30)
"""Stale access never outlives this."""
CLOCKS_DIFFER = timedelta(seconds=5)
"""A heartbeat made further in the future than this comes from a clock that is wrong, and proves nothing."""


def fresh_sql(projection: str, topic: Topic, *, subject: str, partition: str) -> str:
    """Give an SQL condition: the subject in `partition` is fresh. Both are SQL expressions of the query around it.

    A heartbeat counts from when it was made at the producer, so a slow broker or follower cannot make old data look new. After a
    gap in a partition no heartbeat says anything about what was in it, until the projection is built anew.
    """
    heard = f"{_heard(projection, topic)} and f.partition = {partition}"
    return f"(exists ({heard}) and not {pending_sql(projection, subject=subject)})"


def fresh_partitions_sql(projection: str, topic: Topic) -> str:
    """Give an SQL expression: an array of the partitions whose subjects are fresh, but those of `pending_sql`.

    For a query that does not know the partitions of what it finds.
    """
    return f"array({_heard(projection, topic)})"


def pending_sql(projection: str, *, subject: str) -> str:
    """Give an SQL condition: the subject waits, and is not fresh whatever its partition has heard."""
    _plain(projection)
    return f"exists (select from pending_subjects p where p.projection = '{projection}' and p.subject = {subject})"


def _heard(projection: str, topic: Topic) -> str:
    _plain(projection)
    _plain(topic.name)
    return (
        f"select f.partition from follow_positions f where f.projection = '{projection}' and f.topic = '{topic.name}'"
        f" and f.gap_at is null and f.heartbeat_at > now() - interval '{FRESH_FOR.total_seconds():g} seconds'"
        f" and f.heartbeat_at < now() + interval '{CLOCKS_DIFFER.total_seconds():g} seconds'"
    )


def _plain(name: str) -> None:
    if not name.replace("-", "").replace(".", "").replace("_", "").isalnum():
        raise ValueError("a name in SQL has letters, digits, dots and dashes only")
