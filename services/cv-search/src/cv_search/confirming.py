"""Who may be shown: what is held of a citizen decides while it is fresh, and the registry's word where it is not (rule 7)."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from cv_citizens.citizen import Citizen
from cv_citizens.replica_source import needed_answer
from cv_search.document import may_be_shown
from cv_search.store import Shown
from servicekit.follow.state_client import HttpStates
from servicekit.follow.states import Erased, Known, SubjectState

__all__ = ["Confirming"]

log = structlog.get_logger(__name__)


class Confirming:
    """Asks the registry about those who are not fresh, all of a page in one call."""

    def __init__(self, registry: HttpStates) -> None:
        self._registry = registry

    async def __call__(self, shown: Sequence[Shown]) -> list[Shown]:
        """Keep who is fresh or confirmed by the registry, drop all others; raises Unavailable when the registry does not answer."""
        doubtful = [one.person_id for one in shown if not one.fresh]
        confirmed = await self._confirmed(doubtful) if doubtful else set()
        return [one for one in shown if one.fresh or one.person_id in confirmed]

    async def _confirmed(self, persons: Sequence[UUID]) -> set[UUID]:
        with needed_answer():
            states = await self._registry.readable(persons)
        said = {state.subject: word for state in states if (word := _word(state)) is not None}
        if untold := set(persons) - said.keys():
            log.warning("citizens_unconfirmed", count=len(untold))
        return {person for person, may in said.items() if may}


def _word(state: SubjectState) -> bool | None:
    """Give the registry's word whether a citizen may be shown; None where it has none that can be read."""
    match state:
        case Known():
            try:
                return may_be_shown(Citizen.from_state(state.subject, state.version, state.state))
            except (AttributeError, KeyError, TypeError, ValueError):
                return None
        case Erased():
            return False
    return None
