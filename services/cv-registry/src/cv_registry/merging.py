"""Two persons who are one, and two municipalities that become one. Why it is so: docs/decisions/0010-mergers.md."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from cv_citizens.danish_time import Clock, danish_today
from cv_contracts.codelists import CodeLists
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.faults import Fault, FieldError
from cv_registry.domain import CvState
from cv_registry.merged_states import MunicipalityMerger, closed, is_code, moved_all
from cv_registry.store_citizens import CitizenStore
from cv_registry.store_cvs import CvStore
from cv_registry.store_merges import MergeStore, Person
from servicekit.data.postgres import WriteTx

__all__ = ["Merged", "Merging", "PersonMerger"]

PAGE: Final = 1_000
"""Citizens looked through at once, which takes as long wherever those are who are looked for."""
TOGETHER: Final = 200
"""Citizens of one write of a municipality's merger."""
_TAKEN_OVER: Final = (CvState.ACTIVE, CvState.ARCHIVED)


@dataclass(frozen=True, slots=True)
class PersonMerger:
    """That two person numbers are one person's, and which of them stays."""

    survivor: str
    merged: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a merger of persons; told again it changes nothing."""

    applied: bool
    survivor_id: UUID
    merged_id: UUID


class Merging:
    """Merges persons and municipalities; followers hear of each citizen concerned as of any other change."""

    def __init__(self, store: MergeStore, cvs: CvStore, lists: CodeLists, clock: Clock) -> None:
        self._store = store
        self._cvs = cvs
        self._lists = lists
        self._clock = clock

    async def persons(self, merger: PersonMerger) -> Merged:
        """Close one person in favour of the other; raises 1014 where that cannot be."""
        while True:
            async with self._store.database.write(*_locks((merger.survivor, merger.merged))) as tx:
                if merged := await self._persons(tx, merger):
                    return merged

    async def _persons(self, tx: WriteTx, merger: PersonMerger) -> Merged | None:
        """Merge; None, and nothing is written, where the CV was changed while that was decided."""
        persons = await self._store.persons(tx, (merger.survivor, merger.merged))
        survivor, merged = _both(merger, persons)
        ids = survivor.person_id, merged.person_id
        if merged.survivor_id == survivor.person_id:
            return Merged(False, *ids)
        if merged.survivor_id is not None or survivor.survivor_id is not None:
            raise _refused("mergedPersonNumber", "was merged before, or the other was")
        if not await self._delete_cv(tx, merger, merged):
            return None
        if survivor.cv_state is None and merged.cv_state in _TAKEN_OVER:
            await self._store.take_over(tx, merged, survivor)
        today = danish_today(self._clock)
        await self._store.take_over_dates(tx, merged, survivor, today)
        await self._store.close(tx, merged, survivor, merger.reason, merger.by)
        state = closed(merged.state, survivor.person_id, today)
        await self._store.change(tx, [(merged, state)])
        return Merged(True, *ids)

    async def _delete_cv(self, tx: WriteTx, merger: PersonMerger, merged: Person) -> bool:
        """Delete the CV if there is one; False where it no longer has the version that was decided on."""
        if merged.cv_version is None or merged.cv_state == CvState.DELETED:
            return True
        event = CVChanged(
            id=uuid4(),
            subject=merged.cv_id,
            version=tx.version_after(merged.cv_version),
            time=tx.now,
            change="deleted",
        )
        return await self._cvs.move(
            tx, CvState.DELETED, merger.reason, merger.by, event=event, decided=merged.cv_version
        )

    async def municipalities(self, merger: MunicipalityMerger) -> int:
        """Let all that belongs to a municipality belong to another from a day on; gives how many citizens changed.

        Stopped at any point it is begun again: whoever has moved already stays as he is. Raises 1014 for other codes.
        """
        if not is_code(merger.former):
            raise _refused("former", "is no municipality's code")
        if merger.former == merger.into or merger.into not in self._lists.municipalities:
            raise _refused("into", "is no other municipality of the code list")
        after, changed = UUID(int=0), 0
        while page := await self._store.page_for(merger.former, after, PAGE):
            last, concerned = page
            there = 0
            for begin in range(0, len(concerned), TOGETHER):
                found, moved = await self._move(concerned[begin : begin + TOGETHER], merger)
                there, changed = there + found, changed + moved
            # Who got another person number meanwhile is met when the page is read again.
            if there == len(concerned):
                after = last
        return changed

    async def _move(self, person_numbers: list[str], merger: MunicipalityMerger) -> tuple[int, int]:
        """Move those who have to; gives how many of all are there, and how many have moved."""
        async with self._store.database.write(*map(CitizenStore.lock, person_numbers)) as tx:
            persons = list((await self._store.persons(tx, person_numbers)).values())
            states = moved_all([person.state for person in persons], merger)
            changes = [(p, s) for p, s in zip(persons, states, strict=True) if s is not None]
            if changes:
                await self._store.change(tx, changes)
        return len(persons), len(changes)


def _locks(person_numbers: Iterable[str]) -> list[str]:
    return [lock(number) for number in person_numbers for lock in (CitizenStore.lock, CvStore.lock)]


def _both(merger: PersonMerger, persons: dict[str, Person]) -> tuple[Person, Person]:
    for element, number in (("personNumber", merger.survivor), ("mergedPersonNumber", merger.merged)):
        if number not in persons:
            raise _refused(element, "is nobody's")
    if merger.survivor == merger.merged:
        raise _refused("mergedPersonNumber", "is the same")
    return persons[merger.survivor], persons[merger.merged]


def _refused(element: str, reason: str) -> Fault:
    return Fault(1014, errors=(FieldError(element, reason),))
