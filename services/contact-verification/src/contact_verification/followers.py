"""What contact-verification follows: the citizens, as a replica, and the CVs, whose changes decide about prepared ones."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from contact_verification.preparing import Prepares
from contact_verification.store import ContactStore
from cv_citizens.replica import replica_projection
from cv_citizens.replica_source import Registry
from cv_contracts.events.contact_verification import ContactSaved
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from servicekit.data.postgres import WriteTx, lock_number
from servicekit.follow.owned_states import StateOwner
from servicekit.follow.projection import Applicable, Apply, Connection, Projection
from servicekit.follow.states import Known
from servicekit.publish.outbox import Outbox

CVS: Final = "cvs"

PAUSE: Final = timedelta(milliseconds=250)
"""What a CV was committed with is shown by the registry at once, so it need not arrive here sooner."""

_LOCK: Final = "select pg_advisory_xact_lock(key) from unnest($1::bigint[]) as key"
_ERASE: Final = "select erased_person, erased_version from erase_persons($1::uuid[])"


def erase_with(outbox: Outbox) -> Apply:
    """Give what removes all that there is of citizens and tells followers so; writes about them are kept out meanwhile."""

    async def erase(conn: Connection, _generation: int, erased: Sequence[Applicable]) -> None:
        persons = [state.subject for state in erased]
        await _lock(conn, persons)
        tx = _write_tx(conn)
        events = [
            ContactSaved(id=uuid4(), subject=person, version=version, time=tx.now)
            for person, version in await conn.fetch(_ERASE, persons)
        ]
        await outbox.add_many(tx, events)
        tx.committed()

    return erase


def cvs_projection(owner: StateOwner, prepares: Prepares) -> Projection:
    """Declare the CVs: each state names the change of contact data that the newest revision was committed with."""

    async def apply(conn: Connection, _generation: int, states: Sequence[Applicable]) -> None:
        named = [state.state.get("prepareId") for state in states if isinstance(state, Known)]
        ids = {UUID(name) for name in named if name is not None}
        if ids:
            await _activate(conn, prepares, ids)

    return Projection(
        name=CVS,
        topic=topic_of(CVChanged),
        fetch=owner.states,
        apply=apply,
        owner=owner,
        remove=_keep,
        pause=PAUSE,
    )


async def _activate(conn: Connection, prepares: Prepares, ids: set[UUID]) -> None:
    tx = _write_tx(conn)
    persons = await prepares.persons(tx, list(ids))
    await _lock(conn, persons)
    for person in persons:
        await prepares.activate(tx, person, ids)
    tx.committed()


def _write_tx(conn: Connection) -> WriteTx:
    """Write in the follower's own transaction. The relay is woken before it commits, and looks again soon after."""
    return WriteTx(conn)  # type: ignore[arg-type]  # the same statements on either kind of connection


async def _keep(_conn: Connection, _generation: int, _subjects: Sequence[UUID]) -> None:
    """Nothing is kept per generation: what a state did is done."""


async def _lock(conn: Connection, persons: Sequence[UUID]) -> None:
    await conn.execute(_LOCK, sorted(lock_number(ContactStore.lock(person)) for person in persons))


def projections(registry: Registry, cvs: StateOwner, prepares: Prepares, outbox: Outbox) -> list[Projection]:
    """Give all that this service follows."""
    return [replica_projection(registry, erase=erase_with(outbox)), cvs_projection(cvs, prepares)]
