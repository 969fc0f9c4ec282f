"""One batch in one transaction: states applied where newer, what cannot be applied as rows, and the positions."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import structlog

from servicekit.follow.pending import Waiting
from servicekit.follow.projection import (
    Announced,
    Applicable,
    Connection,
    PendingReason,
    Position,
    Projection,
    sorted_by_subject,
)
from servicekit.follow.records import Record
from servicekit.follow.states import Erased, Known, SubjectState

__all__ = [
    "HAD",
    "Rewound",
    "Settled",
    "Work",
    "apply_newer",
    "apply_what_can_be",
    "applying",
    "settle",
    "sort_answers",
]

log = structlog.get_logger(__name__)

_UPSERT_VERSIONS = """
with into_generations as (
    select generation from projection_generations
    where projection = $1 and status <> 'retired' and ($5::integer[] is null or generation = any($5))
    order by generation for key share
)
insert into projected_versions (projection, generation, subject, version, erased)
select $1, g.generation, s.subject, s.version, s.erased
from into_generations g cross join unnest($2::uuid[], $3::bigint[], $4::boolean[]) as s(subject, version, erased)
order by s.subject, g.generation
on conflict (projection, generation, subject) do update
set version = excluded.version, erased = excluded.erased
where projected_versions.version < excluded.version
returning generation, subject
"""

HAD = """
select s.subject from unnest($2::uuid[], $3::bigint[]) as s(subject, version)
where not exists (
    select 1 from projection_generations g where g.projection = $1 and g.status <> 'retired' and coalesce((
        select v.version from projected_versions v
        where v.projection = $1 and v.generation = g.generation and v.subject = s.subject), -1) < s.version)
"""
"""Which subjects have the version, or a newer one, in every generation."""

# A row that is there although its version was had may be of a record that nobody could read: it goes on to be tried, ever later.
_HAD_AND_WAITS_NO_MORE = f"""{HAD}and not exists (
    select 1 from pending_subjects p where p.projection = $1 and p.subject = s.subject)
"""

# A retry deletes a row or puts it off only while it is as that retry claimed it: an unreadable record, whose version nobody knows, may
# have come after the owner was asked. It lets the row be tried within seconds, and whoever claims it then counts one attempt more.
# An unreadable record that is there is the same, or of a topic that was lost: the new one has an id of its own, for who decides on
# the lost one has not seen it.
# Who stood still while another took over does not move a position back: only what it was known to be may be lowered.
# A heartbeat that a wrong clock put into the future does not stand in the way of true ones.
_SETTLE = """
with reached as (
    delete from pending_subjects p using unnest($3::uuid[], $4::bigint[], $5::integer[]) as a(subject, version, attempts)
    where p.projection = $1 and p.subject = a.subject and p.version <= a.version
        and (not $12 or (p.attempts = a.attempts and p.next_try > clock_timestamp() + interval '5 seconds'))
), waiting as (
    insert into pending_subjects as p (projection, subject, partition, version, attempts, next_try, reason)
    select $1, w.subject, w.partition, w.version, w.attempts, now() + w.seconds * interval '1 second', w.reason
    from unnest($6::uuid[], $7::integer[], $8::bigint[], $9::integer[], $10::float8[], $11::text[])
        as w(subject, partition, version, attempts, seconds, reason)
    order by w.subject
    on conflict (projection, subject) do update
    set partition = coalesce(excluded.partition, p.partition),
        version = greatest(excluded.version, p.version),
        attempts = greatest(excluded.attempts, p.attempts),
        next_try = case when $12 then excluded.next_try else least(excluded.next_try, p.next_try) end,
        reason = excluded.reason
    where not $12 or (p.version <= excluded.version
        and p.attempts = excluded.attempts and p.next_try > clock_timestamp() + interval '5 seconds')
), unreadable as (
    insert into unreadable_records as u (projection, topic, partition, "offset", key, headers, value, reason)
    select $1, $2, r.partition, r."offset", r.key, r.headers, r.value, r.reason
    from unnest($13::integer[], $14::bigint[], $15::bytea[], $16::bytea[], $17::bytea[], $18::text[])
        as r(partition, "offset", key, headers, value, reason)
    order by r.partition, r."offset"
    on conflict (projection, topic, partition, "offset") do update
    set id = default, key = excluded.key, headers = excluded.headers, value = excluded.value, reason = excluded.reason,
        seen_at = now()
    where (u.key, u.headers, u.value) is distinct from (excluded.key, excluded.headers, excluded.value)
), moved as (
    insert into follow_positions as p (projection, topic, partition, next_offset, heartbeat_at, gap_at)
    select $1, $2, m.partition, m.next_offset, m.heartbeat_at, case when m.gap then now() end
    from unnest($19::integer[], $20::bigint[], $21::timestamptz[], $22::boolean[])
        as m(partition, next_offset, heartbeat_at, gap)
    order by m.partition
    on conflict (projection, topic, partition) do update
    set next_offset = case
            when p.next_offset = (
                select k.next_offset from unnest($23::integer[], $24::bigint[]) as k(partition, next_offset)
                where k.partition = excluded.partition
            ) then excluded.next_offset
            else greatest(excluded.next_offset, p.next_offset)
        end,
        heartbeat_at = coalesce(
            greatest(
                excluded.heartbeat_at,
                case when p.heartbeat_at < now() + interval '5 seconds' then p.heartbeat_at end
            ),
            p.heartbeat_at
        ),
        gap_at = coalesce(excluded.gap_at, p.gap_at),
        updated_at = now()
)
select k.partition from unnest($23::integer[], $24::bigint[]) as k(partition, next_offset)
left join follow_positions b on b.projection = $1 and b.topic = $2 and b.partition = k.partition
where b.next_offset is null or b.next_offset < k.next_offset
"""


class Rewound(Exception):  # noqa: N818 - what happened to the database
    """The database's positions are behind what this process committed: it was restored, so its records are read again."""


@dataclass(slots=True)
class Work:
    """All that one transaction is to write. `known_offsets` is what the database is known to hold of the positions."""

    states: dict[UUID, Applicable] = field(default_factory=dict)
    announced: Mapping[UUID, Announced] = field(default_factory=dict)
    waiting: dict[UUID, Waiting] = field(default_factory=dict)
    unreadable: Sequence[Record] = ()
    positions: Mapping[int, Position] = field(default_factory=dict)
    known_offsets: Mapping[int, int] = field(default_factory=dict)
    attempts: Mapping[UUID, int] = field(default_factory=dict)
    """The attempts so far of those that the retry loop claimed."""
    retried: bool = False
    """Whether the retry loop claimed them, so that the next try is set and not only brought forward."""

    def wait(self, subject: UUID, reason: PendingReason) -> Waiting:
        """Make the pending row of a subject of this work."""
        announced = self.announced.get(subject) or Announced(subject, self.states[subject].version)
        return Waiting.after(self.attempts.get(subject, 0), announced, reason)


@dataclass(frozen=True, slots=True)
class Settled:
    """What the transaction did: versions reached per subject, those that were news, and the subjects that wait now."""

    reached: Mapping[UUID, int]
    newly: frozenset[UUID]
    waiting: Mapping[UUID, Waiting]


def sort_answers(
    announced: Mapping[UUID, Announced], answers: Mapping[UUID, SubjectState]
) -> tuple[dict[UUID, Applicable], dict[UUID, PendingReason]]:
    """Part the owner's answers into states to apply and reasons to wait; an older state is both."""
    states: dict[UUID, Applicable] = {}
    reasons: dict[UUID, PendingReason] = {}
    for subject, wanted in announced.items():
        answer = answers.get(subject)
        if answer is None:
            reasons[subject] = "owner-silent"
        elif isinstance(answer, Known | Erased):
            states[subject] = answer
            if answer.version < wanted.version:
                reasons[subject] = "owner-older"
        else:
            reasons[subject] = "owner-unknown"
    return states, reasons


async def apply_newer(
    conn: Connection,
    projection: Projection,
    states: Sequence[Applicable],
    generations: Sequence[int] | None = None,
) -> frozenset[UUID]:
    """Apply states, sorted by subject, where they are newer; to be called inside a transaction. Gives what was news.

    `generations` limits it to some of the projection's; without it, all that are live or being built.
    """
    rows = await conn.fetch(
        _UPSERT_VERSIONS,
        projection.name,
        [state.subject for state in states],
        [state.version for state in states],
        [isinstance(state, Erased) for state in states],
        generations,
    )
    newer: dict[int, set[UUID]] = {}
    for generation, subject in rows:
        newer.setdefault(generation, set()).add(subject)
    for generation in sorted(newer):
        await projection.apply(conn, generation, [s for s in states if s.subject in newer[generation]])
    return frozenset(subject for _, subject in rows)


@asynccontextmanager
async def applying(
    conn: Connection, projection: Projection, states: Sequence[Applicable], *, durably: bool = False
) -> AsyncIterator[None]:
    """Open the transaction in which these states are applied; it waits for the disk only where it must."""
    async with conn.transaction():
        durably = durably or projection.durable or any(isinstance(state, Erased) for state in states)
        if not durably:
            await conn.execute("set local synchronous_commit = off")
        yield


async def settle(conn: Connection, projection: Projection, work: Work, *, one_by_one: bool) -> Settled:
    """Do all of `work` in one transaction. With `one_by_one`, states that cannot be applied wait and the others do not."""
    states = sorted_by_subject(work.states)
    # What is read again after a crash need not show a gap again.
    gap = any(position.gap for position in work.positions.values())
    async with applying(conn, projection, states, durably=gap):
        failed: set[UUID] = set()
        if one_by_one:
            newly = await apply_what_can_be(conn, projection, states, failed)
        else:
            newly = await apply_newer(conn, projection, states) if states else frozenset()
        wanted = {**work.waiting, **{s: work.wait(s, "not-applied") for s in failed}}
        waiting = await _lacking(conn, projection, wanted, {r.key_subject for r in work.unreadable})
        reached = {s.subject: s.version for s in states if s.subject not in failed}
        await _write_rows(
            conn, projection, work, {s: v for s, v in reached.items() if s not in waiting}, waiting
        )
    return Settled(reached, newly, waiting)


async def apply_what_can_be(
    conn: Connection,
    projection: Projection,
    states: Sequence[Applicable],
    failed: set[UUID],
    generations: Sequence[int] | None = None,
) -> frozenset[UUID]:
    """Apply in halves until the states that fail are found; each part in a savepoint of its own."""
    if not states:
        return frozenset()
    try:
        async with conn.transaction():
            return await apply_newer(conn, projection, states, generations)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one state must not stop the others
        if len(states) == 1:
            failed.add(states[0].subject)
            log.warning("state_not_applied", stream=projection.name, error_type=type(error).__name__)
            return frozenset()
    middle = len(states) // 2
    return await apply_what_can_be(
        conn, projection, states[:middle], failed, generations
    ) | await apply_what_can_be(conn, projection, states[middle:], failed, generations)


async def _lacking(
    conn: Connection, projection: Projection, waiting: Mapping[UUID, Waiting], suspects: set[UUID | None]
) -> Mapping[UUID, Waiting]:
    """Leave out what was applied by others while the owner was asked, and waits no more.

    Of suspects nobody could read the version, so that it is never had; a row of version 0 says the same.
    """
    versions = {
        s: w.announced.version for s, w in waiting.items() if w.announced.version > 0 and s not in suspects
    }
    if not versions:
        return waiting
    rows = await conn.fetch(_HAD_AND_WAITS_NO_MORE, projection.name, list(versions), list(versions.values()))
    had = {row["subject"] for row in rows}
    return {subject: one for subject, one in waiting.items() if subject not in had}


async def _write_rows(
    conn: Connection,
    projection: Projection,
    work: Work,
    reached: Mapping[UUID, int],
    waiting: Mapping[UUID, Waiting],
) -> None:
    waits, records, positions = list(waiting.values()), work.unreadable, work.positions
    behind: list[asyncpg.Record] = await conn.fetch(
        _SETTLE,
        projection.name,
        projection.topic.name,
        list(reached),
        list(reached.values()),
        [work.attempts.get(subject, 0) for subject in reached],
        [w.announced.subject for w in waits],
        [w.announced.partition for w in waits],
        [w.announced.version for w in waits],
        [w.attempts for w in waits],
        [w.delay for w in waits],
        [w.reason for w in waits],
        work.retried,
        [r.partition for r in records],
        [r.offset for r in records],
        [r.key for r in records],
        [r.raw_headers() for r in records],
        [r.value for r in records],
        [r.unreadable for r in records],
        list(positions),
        [p.next_offset for p in positions.values()],
        [p.heartbeat_at for p in positions.values()],
        [p.gap for p in positions.values()],
        list(work.known_offsets),
        list(work.known_offsets.values()),
    )
    if behind:
        raise Rewound
