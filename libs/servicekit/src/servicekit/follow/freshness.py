"""Is a followed subject fresh enough for access decisions? Yes if its partition heard a recent heartbeat and lacks no records, and the subject is not pending."""

from datetime import timedelta

from cv_contracts.topics import Topic

__all__ = [
    "CLOCKS_DIFFER",
    "FRESH_FOR",
    "all_fresh_sql",
    "fresh_partitions_sql",
    "fresh_sql",
    "heartbeat_age_sql",
    "pending_sql",
]

FRESH_FOR = timedelta(seconds=30)
"""Stale access never outlives this."""
CLOCKS_DIFFER = timedelta(seconds=5)
"""A heartbeat made further in the future than this comes from a clock that is wrong, and proves nothing."""


def fresh_sql(projection: str, topic: Topic, *, subject: str, partition: str) -> str:
    """Give an SQL condition: the subject in `partition` is fresh. Both are SQL expressions of the query around it.

    A heartbeat counts from when it was made at the producer, so a slow broker or follower cannot make old data look new. After a
    gap in a partition no heartbeat says anything about what was in it, until the projection is built anew.
    """
    heard = f"exists (select from {_heard(projection, topic)} and f.partition = {partition})"
    return f"({heard} and not {pending_sql(projection, subject=subject)})"


def all_fresh_sql(projection: str, topic: Topic) -> str:
    """Give an SQL condition: a projection is live, and whoever it knows or lacks in any partition is fresh.

    For an answer that must not tell by its freshness whether anybody was found.
    """
    return (
        f"(exists (select from projection_generations g where g.projection = '{_plain(projection)}' and g.status = 'live')"
        f" and (select count(*) from {_heard(projection, topic)} and f.partition < {topic.partitions}) = {topic.partitions}"
        f" and not exists (select from {_waiting(projection)}))"
    )


def fresh_partitions_sql(projection: str, topic: Topic) -> str:
    """Give an SQL expression: an array of the partitions whose subjects are fresh, but those of `pending_sql`.

    For a query that does not know the partitions of what it finds.
    """
    return f"array(select f.partition from {_heard(projection, topic)})"


def heartbeat_age_sql(projection: str, topic: Topic) -> str:
    """Give an SQL expression: how old the heartbeat of the partition furthest behind is, in seconds; null for a topic that has none.

    It is over FRESH_FOR where that partition's subjects are not fresh for want of a heartbeat: one from the future is stale by
    as much as it is ahead, and a partition that never heard any counts as if its last were twice as old as it may be.
    """
    if not topic.heartbeat:
        return "null::float8"
    fresh_for, age = FRESH_FOR.total_seconds(), "extract(epoch from now() - f.heartbeat_at)::float8"
    return (
        f"(select max(case when f.heartbeat_at is null then {2 * fresh_for:g}"
        f" when {age} <= -{CLOCKS_DIFFER.total_seconds():g} then {fresh_for:g} - {age} else {age} end)"
        f" from generate_series(0, {topic.partitions - 1}) as p left join follow_positions f"
        f" on f.projection = '{_plain(projection)}' and f.topic = '{_plain(topic.name)}' and f.partition = p)"
    )


def pending_sql(projection: str, *, subject: str) -> str:
    """Give an SQL condition: the subject waits, and is not fresh whatever its partition has heard."""
    return f"exists (select from {_waiting(projection)} and p.subject = {subject})"


def _heard(projection: str, topic: Topic) -> str:
    """Name the partitions that lack nothing and heard a heartbeat made lately, as `f`."""
    return (
        f"follow_positions f where f.projection = '{_plain(projection)}' and f.topic = '{_plain(topic.name)}'"
        f" and f.gap_at is null and f.heartbeat_at > now() - interval '{FRESH_FOR.total_seconds():g} seconds'"
        f" and f.heartbeat_at < now() + interval '{CLOCKS_DIFFER.total_seconds():g} seconds'"
    )


def _waiting(projection: str) -> str:
    """Name the subjects that wait to be fetched or applied, as `p`."""
    return f"pending_subjects p where p.projection = '{_plain(projection)}'"


def _plain(name: str) -> str:
    if not name.replace("-", "").replace(".", "").replace("_", "").isalnum():
        raise ValueError("a name in SQL has letters, digits, dots and dashes only")
    return name
