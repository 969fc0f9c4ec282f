"""How an owner forgets the citizens whose erasure it hears of, and tells its own followers so."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final
from uuid import UUID, uuid4

from cv_contracts.event import Event
from servicekit.data.postgres import WriteTx, lock_number
from servicekit.follow.projection import Applicable, Apply, Connection
from servicekit.publish.outbox import Outbox

__all__ = ["erase_with", "keep_out", "write_tx"]

_LOCK: Final = "select pg_advisory_xact_lock(key) from unnest($1::bigint[]) as key"


def erase_with(outbox: Outbox, event: type[Event], remove: str, lock: Callable[[UUID], str]) -> Apply:
    """Give what removes all that there is of citizens and tells followers so; writes about them are kept out meanwhile.

    `remove` is a query that takes person ids and gives subject and version of each event; `lock` the key of a person's writes.
    """

    async def erase(conn: Connection, _generation: int, erased: Sequence[Applicable]) -> None:
        persons = [state.subject for state in erased]
        await keep_out(conn, map(lock, persons))
        tx = write_tx(conn)
        removed = await conn.fetch(remove, persons)
        events = [event(id=uuid4(), subject=s, version=version, time=tx.now) for s, version in removed]
        await outbox.add(tx, *events)
        tx.committed()

    return erase


async def keep_out(conn: Connection, keys: Iterable[str]) -> None:
    """Let writes with these keys wait until the follower's transaction ends, all locked in one order."""
    await conn.execute(_LOCK, sorted({lock_number(key) for key in keys}))


def write_tx(conn: Connection) -> WriteTx:
    """Write in the follower's own transaction. The relay is woken before it commits, and looks again soon after."""
    return WriteTx(conn)  # type: ignore[arg-type]  # the same statements on either kind of connection
