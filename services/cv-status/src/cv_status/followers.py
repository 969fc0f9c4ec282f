"""What cv-status follows: the citizens, as a replica; an erased one takes statuses and frozen versions along."""

from typing import Final

from cv_citizens.erasing import erase_with
from cv_citizens.replica import replica_projection
from cv_citizens.replica_source import Registry
from cv_contracts.events.cv_status import StatusSet
from cv_status.store import erasure_lock
from servicekit.follow.projection import Projection
from servicekit.publish.outbox import Outbox

_ERASE: Final = "select erased_cv, erased_version from erase_persons($1::uuid[])"


def projections(registry: Registry, outbox: Outbox) -> list[Projection]:
    """Give all that this service follows."""
    return [replica_projection(registry, erase=erase_with(outbox, StatusSet, _ERASE, erasure_lock))]
