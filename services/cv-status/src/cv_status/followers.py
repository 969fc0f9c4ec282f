"""What cv-status follows: the citizens, as a replica; an erased one takes statuses and frozen versions along."""

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from cv_citizens.replica import replica_projection
from cv_citizens.replica_source import Registry
from cv_contracts.events.cv_status import StatusSet
from cv_status.store import erasure_lock
from servicekit.data.postgres import WriteTx, lock_number
from servicekit.follow.projection import Applicable, Apply, Connection, Projection
from servicekit.publish.outbox import Outbox

_LOCK: Final = "select pg_advisory_xact_lock(key) from unnest($1::bigint[]) as key"
_ERASE: Final = "select erased_cv, erased_version from erase_persons($1::uuid[])"


def erase_with(outbox: Outbox) -> Apply:
    """Give what removes all that there is of citizens and tells followers so; writes about them are kept out meanwhile."""

    async def erase(conn: Connection, _generation: int, erased: Sequence[Applicable]) -> None:
        persons = [state.subject for state in erased]
        await conn.execute(_LOCK, sorted(lock_number(erasure_lock(person)) for person in persons))
        # The relay is woken before the follower's own transaction commits, and looks again soon after.
        tx = WriteTx(conn)  # type: ignore[arg-type]  # the same statements on either kind of connection
        events = [
            StatusSet(id=uuid4(), subject=cv, version=version, time=tx.now)
            for cv, version in await conn.fetch(_ERASE, persons)
        ]
        await outbox.add_many(tx, events)
        tx.committed()

    return erase


def projections(registry: Registry, outbox: Outbox) -> list[Projection]:
    """Give all that this service follows."""
    return [replica_projection(registry, erase=erase_with(outbox))]
