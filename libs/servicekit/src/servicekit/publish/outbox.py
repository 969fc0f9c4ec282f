"""The one way to publish: event rows in the transaction that changes the state; the relay sends them afterwards."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from cv_contracts.envelope import Event, data_json
from cv_contracts.topics import topic_of
from servicekit.data.postgres import WriteTx
from servicekit.observe.telemetry import current_traceparent

OUTBOX_COLUMNS = "id, aggregatetype, aggregateid, type, payload, version, time, tracingspancontext, partition"

OUTBOX_INSERT = f"insert into outbox ({OUTBOX_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
"""One row; its arguments are an OutboxRow. With other numbers (in a CTE of a store): `outbox_insert(first)`."""

_TYPES = ("uuid", "text", "text", "text", "bytea", "bigint", "timestamptz", "text", "int")


class OutboxRow(NamedTuple):
    """The arguments of OUTBOX_INSERT. `partition` is None unless the record must go to one partition (heartbeats)."""

    id: UUID
    aggregatetype: str
    aggregateid: str
    type: str
    payload: bytes
    version: int
    time: datetime
    tracingspancontext: str | None
    partition: int | None


def outbox_insert(first: int, each: str | None = None) -> str:
    """Give the insert of one row whose nine parameters begin at `$first`, for a CTE of a store's own statement.

    With `each`, the row is inserted for each row of that CTE: none is, where the store's own write did nothing.
    """
    places = [f"${first + i}::{kind}" for i, kind in enumerate(_TYPES)]
    rows = f"values ({', '.join(places)})" if each is None else f"select {', '.join(places)} from {each}"
    return f"insert into outbox ({OUTBOX_COLUMNS}) {rows}"


def outbox_insert_many(first: int = 1) -> str:
    """Give the insert of rows, in their order, whose nine columns are the arrays from `$first` on (`columns_of`)."""
    arrays = ", ".join(f"${first + i}::{kind}[]" for i, kind in enumerate(_TYPES))
    return f"insert into outbox ({OUTBOX_COLUMNS}) select * from unnest({arrays})"


def columns_of(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Turn rows into the arrays of their columns."""
    return [list(column) for column in zip(*rows, strict=True)]


_INSERT_MANY = outbox_insert_many()


class Outbox:
    """Adds events to the service's outbox, and wakes the relay in this process once they are committed."""

    def __init__(self) -> None:
        self._wakers: list[Callable[[], None]] = []

    def on_commit(self, waker: Callable[[], None]) -> None:
        """Call `waker` whenever a transaction with rows of this outbox was committed in this process."""
        self._wakers.append(waker)

    def wake(self) -> None:
        """Tell the relay that there is something to send. A store that inserts by itself passes this to `after_commit`."""
        for waker in self._wakers:
            waker()

    def row(self, event: Event, partition: int | None = None) -> OutboxRow:
        """Give the row of an event, with the trace it was made in."""
        return OutboxRow(
            event.id,
            topic_of(type(event)).name,
            str(event.subject),
            event.TYPE,
            data_json(event),
            event.version,
            event.time,
            current_traceparent(),
            partition,
        )

    async def add(self, tx: WriteTx, *events: Event) -> None:
        """Add the events, in this order, to the transaction, with one statement."""
        await self.add_rows(tx, [self.row(event) for event in events])

    async def add_rows(self, tx: WriteTx, rows: Sequence[OutboxRow]) -> None:
        """Add rows that may go to different partitions."""
        if len(rows) == 1:
            await tx.conn.execute(OUTBOX_INSERT, *rows[0])
        elif rows:
            await tx.conn.execute(_INSERT_MANY, *columns_of(rows))
        tx.after_commit(self.wake)
