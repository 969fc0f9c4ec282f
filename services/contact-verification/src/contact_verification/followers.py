"""What contact-verification follows: the citizens, as a replica, and the CVs, whose changes decide about prepared ones."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from contact_verification.preparing import Prepares
from contact_verification.store import ContactStore
from cv_citizens.erasing import erase_with, keep_out, write_tx
from cv_citizens.replica import replica_projection
from cv_citizens.replica_source import Registry
from cv_contracts.events.contact_verification import ContactSaved
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from servicekit.follow.projection import Applicable, Connection, Projection
from servicekit.follow.state_client import StateOwner
from servicekit.follow.states import Known
from servicekit.publish.outbox import Outbox

CVS: Final = "cvs"

PAUSE: Final = timedelta(milliseconds=250)
"""What a CV was committed with is shown by the registry at once, so it need not arrive here sooner."""

_ERASE: Final = "select erased_person, erased_version from erase_persons($1::uuid[])"


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
    tx = write_tx(conn)
    persons = await prepares.persons(tx, list(ids))
    await keep_out(conn, map(ContactStore.lock, persons))
    for person in persons:
        await prepares.activate(tx, person, ids)
    tx.committed()


async def _keep(_conn: Connection, _generation: int, _subjects: Sequence[UUID]) -> None:
    """Nothing is kept per generation: what a state did is done."""


def projections(registry: Registry, cvs: StateOwner, prepares: Prepares, outbox: Outbox) -> list[Projection]:
    """Give all that this service follows."""
    erase = erase_with(outbox, ContactSaved, _ERASE, ContactStore.lock)
    return [replica_projection(registry, erase=erase), cvs_projection(cvs, prepares)]
