"""Administrative moves in the life cycle of a CV: who, why, and the event."""

from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.faults import Fault, FieldError
from cv_contracts.ids import CvId
from cv_registry.domain import CvState, change_of
from cv_registry.store_cvs import CvStore


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a move; unchanged means that the CV was in that state already."""

    outcome: Literal["applied", "unchanged"]
    version: int


class Moving:
    """Moves CVs in their life cycle; a replace that runs is waited for."""

    def __init__(self, store: CvStore) -> None:
        self._store = store

    async def move(
        self, cv_id: CvId, wanted: CvState, reason: str, by: str, *, only: int | None = None
    ) -> Moved:
        """Move, or raise 4755 for no such CV and 1014 for a move that the life cycle does not have.

        With `only`, a CV that has another version by now is left as it is.
        """
        while (person_number := await self._store.person_number_of(cv_id)) is not None:
            async with self._store.database.write(self._store.lock(person_number)) as tx:
                cv = await self._store.for_moving(tx, cv_id)
                # The person number may have changed meanwhile, and with it the key of the writes to be kept out.
                if cv is not None and cv.person_number != person_number:
                    continue
                if cv is None or cv.state is None or cv.version is None:
                    raise Fault(4755)
                if cv.state is wanted or only not in (None, cv.version):
                    return Moved("unchanged", cv.version)
                change = change_of(cv.state, wanted)
                if change is None:
                    raise Fault(1014, errors=(FieldError("state", f"cannot follow {cv.state}"),))
                event = CVChanged(
                    id=uuid4(),
                    subject=cv_id,
                    version=tx.version_after(cv.version),
                    time=tx.now,
                    change=change,
                )
                if await self._store.move(tx, wanted, reason, by, event=event, decided=cv.version):
                    return Moved("applied", event.version)
        raise Fault(4755)
