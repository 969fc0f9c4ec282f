"""Who may be shown: what is held of a citizen decides while it is fresh, and the registry's word where it is not (rule 7)."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from cv_citizens.citizen import Citizen
from cv_contracts.faults import Unavailable
from cv_search.store import Shown
from servicekit.follow.owned_states import StateOwner
from servicekit.follow.states import BadState, Erased, Known, SubjectState

__all__ = ["Confirming"]

log = structlog.get_logger(__name__)


class Confirming:
    """Asks the registry about those who are not fresh, all of a page in one call."""

    def __init__(self, registry: StateOwner) -> None:
        self._registry = registry

    async def __call__(self, shown: Sequence[Shown]) -> list[Shown]:
        """Leave out who may not be shown any more; raises Unavailable when nobody can tell now."""
        doubtful = [one.person_id for one in shown if not one.fresh]
        gone = await self._gone(doubtful) if doubtful else set()
        return [one for one in shown if one.person_id not in gone]

    async def _gone(self, persons: Sequence[UUID]) -> set[UUID]:
        try:
            states = {state.subject: state for state in await self._registry.states(persons)}
            return {person for person in persons if _is_gone(states.get(person))}
        except Exception as error:
            log.warning("registry_gave_no_citizen", error_type=type(error).__name__)
            raise Unavailable(retry_after=1) from error


def _is_gone(state: SubjectState | None) -> bool:
    match state:
        case Known():
            citizen = Citizen.from_state(state.subject, state.version, state.state)
            return citizen.dead or citizen.protected
        case Erased():
            return True
    raise BadState("a citizen that is known here is unknown to the registry")
