"""The citizens' intake: short writes of some citizens together, in which repeats and late deliveries change nothing."""

import asyncio
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import orjson
from pydantic import ValidationError

from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.faults import FieldError
from cv_contracts.ids import CvId, PersonId
from cv_contracts.wire.errors import faults_of
from cv_registry.store_citizens import (
    IMPORTING,
    CitizenChange,
    CitizenRow,
    CitizenStore,
    CvNumberTaken,
    KnownCitizen,
    RegisteredMeanwhile,
)
from cv_registry.told_citizen import ToldCitizen, personal_json, protected_personal_json, state_json
from servicekit.data.postgres import WriteTx

AT_ONCE: Final = 6
"""Writes at the same time, over all deliveries: the pool keeps connections for those who read and follow."""
TOGETHER: Final = 50
"""Citizens of one write: many cost little more than one, and it stays short."""
NUMBER_ATTEMPTS: Final = 20

Outcome = Literal["applied", "unchanged", "stale", "refused"]


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """What became of one citizen of a delivery; the ids are there unless it was refused."""

    outcome: Outcome
    person_id: UUID | None = None
    cv_id: UUID | None = None
    cv_number: str | None = field(default=None, repr=False)
    errors: tuple[FieldError, ...] = ()

    def to_json(self, index: int) -> dict[str, Any]:
        members = {
            "index": index,
            "outcome": self.outcome,
            "personId": self.person_id,
            "cvId": self.cv_id,
            "cvNumber": self.cv_number,
            "errors": [{"element": e.element, "reason": e.reason} for e in self.errors] or None,
        }
        return {name: value for name, value in members.items() if value is not None}


def refused(element: str, reason: str) -> IntakeResult:
    return IntakeResult("refused", errors=(FieldError(element, reason),))


def random_cv_number() -> str:
    """Give a CV number: eight digits, the first not 0, since JobnetCVId is the same number as an integer."""
    return str(10_000_000 + secrets.randbelow(90_000_000))


class RenumberedSince(Exception):  # noqa: N818 - asks for another try
    """Citizens told of by former numbers have other ones by now, whose writes are to be kept out too."""

    def __init__(self, numbers: Collection[str]) -> None:
        super().__init__("citizens have other numbers by now")
        self.numbers = numbers


class Intake:
    """Takes deliveries of citizens from the source of truth."""

    def __init__(self, store: CitizenStore) -> None:
        self._store = store
        self._limit = asyncio.Semaphore(AT_ONCE)

    async def take_all(self, citizens: Sequence[Any]) -> list[IntakeResult]:
        """Take a delivery of raw JSON objects; each stands for itself, one refused does not stop the others."""
        return await self.take_many([_read(raw) for raw in citizens])

    async def take_many(self, delivery: Sequence[ToldCitizen | IntakeResult]) -> list[IntakeResult]:
        """Take citizens that were read; what is a result already stays in its place."""
        results = list(delivery)
        for together in _in_parts(results):
            async with self._limit:
                taken = await self._take_together([citizen for _, citizen in together])
            for (index, _), result in zip(together, taken, strict=True):
                results[index] = result
        return [result for result in results if isinstance(result, IntakeResult)]

    async def take(self, citizen: ToldCitizen) -> IntakeResult:
        """Take one valid citizen; draw again where the CV number drawn is taken, and compare with who was imported meanwhile."""
        present: Collection[str] = ()
        for _ in range(NUMBER_ATTEMPTS):
            try:
                (result,) = await self._write([citizen], present)
            except CvNumberTaken:
                if citizen.cv_number is not None:
                    return refused("cvNumber", "is another citizen's, or was withdrawn")
            except RegisteredMeanwhile:
                continue
            except RenumberedSince as renumbered:
                present = renumbered.numbers
            else:
                return result
        raise RuntimeError("no free CV number was found, or others were always faster")

    async def _take_together(self, citizens: Sequence[ToldCitizen]) -> list[IntakeResult]:
        try:
            return await self._write(citizens)
        except (CvNumberTaken, RegisteredMeanwhile, RenumberedSince):
            return [await self.take(citizen) for citizen in citizens]

    async def _write(
        self, citizens: Sequence[ToldCitizen], present: Collection[str] = ()
    ) -> list[IntakeResult]:
        """Write together those who share no person; `present` are more numbers that they have now."""
        numbers = [number for citizen in citizens for number in _numbers(citizen)]
        locks = list(map(self._store.lock, [*numbers, *present]))
        if any(citizen.former_person_number for citizen in citizens):
            # Nobody may be imported under a former number while it is remembered as one.
            locks.append(IMPORTING)
        async with self._store.database.write(*locks) as tx:
            now = await self._store.known(tx, numbers)
            strange = [number for number in numbers if number not in now]
            formerly = await self._store.formerly(tx, strange) if strange else {}
            merged = [one.person_id for one in (*now.values(), *formerly.values()) if one.is_merged]
            known = _Known(now, formerly, await self._store.survivors(tx, merged) if merged else {})
            if not (needed := {n for c in citizens for n in known.present_numbers(c)}).issubset(present):
                raise RenumberedSince(needed)
            decisions = [_decide(citizen, known, tx) for citizen in citizens]
            if former := [decision.had for decision in decisions if decision.had]:
                await self._store.had(tx, former)
            for seen in filter(None, (decision.seen for decision in decisions)):
                await self._store.seen(tx, *seen)
            if changes := [decision.change for decision in decisions if decision.change]:
                await self._store.save(tx, changes)
        return [decision.result for decision in decisions]


def _read(raw: Any) -> ToldCitizen | IntakeResult:
    try:
        return ToldCitizen.model_validate_json(orjson.dumps(raw))
    except ValidationError as error:
        return IntakeResult("refused", errors=faults_of(error).errors)
    except TypeError:
        return refused("body", "holds an integer, a text or a depth that cannot be read")


def _in_parts(
    delivery: Sequence[ToldCitizen | IntakeResult],
) -> Iterator[list[tuple[int, ToldCitizen]]]:
    """Part the valid citizens of a delivery, with their places, so that in no part two share a person number."""
    part: list[tuple[int, ToldCitizen]] = []
    taken: set[str] = set()
    for index, citizen in enumerate(delivery):
        if isinstance(citizen, IntakeResult):
            continue
        if len(part) == TOGETHER or not taken.isdisjoint(_numbers(citizen)):
            yield part
            part, taken = [], set()
        part.append((index, citizen))
        taken.update(_numbers(citizen))
    if part:
        yield part


@dataclass(frozen=True, slots=True)
class _Known:
    """Those who have the person numbers of a delivery now, those who had the other ones before, and into whom they were merged."""

    now: Mapping[str, KnownCitizen]
    formerly: Mapping[str, KnownCitizen]
    survivors: Mapping[UUID, KnownCitizen]

    def of(self, number: str | None) -> KnownCitizen | None:
        """Give whose a number is or was: of the merged the one who survived."""
        known = self.now.get(number or "") or self.formerly.get(number or "")
        return known and self.survivors.get(known.person_id, known)

    def present_numbers(self, citizen: ToldCitizen) -> set[str]:
        """Give the numbers, other than those told, of those whom a citizen told with a former number may be."""
        if citizen.former_person_number is None:
            return set()
        numbers = _numbers(citizen)
        return {known.person_number for known in map(self.of, numbers) if known}.difference(numbers)

    def is_anybodys(self, number: str) -> bool:
        return number in self.now or number in self.formerly


@dataclass(frozen=True, slots=True)
class _Decision:
    """What becomes of a citizen, and what is to be written for it."""

    result: IntakeResult
    change: CitizenChange | None = None
    seen: tuple[UUID, int] | None = None
    had: tuple[str, UUID] | None = None
    """A former person number that nothing was known of."""


def _decide(citizen: ToldCitizen, known: _Known, tx: WriteTx) -> _Decision:
    decision = _decided(citizen, known, tx)
    former, person_id = citizen.former_person_number, decision.result.person_id
    if former is None or person_id is None or known.is_anybodys(former):
        return decision
    return replace(decision, had=(former, person_id))


def _decided(citizen: ToldCitizen, known: _Known, tx: WriteTx) -> _Decision:
    citizen_now = known.now.get(citizen.person_number)
    told, other = known.of(citizen.former_person_number), known.of(citizen.person_number)
    if told is not None and other is not None and told.person_id != other.person_id:
        return _Decision(_of_two(citizen_now))
    if citizen_now is not None:
        return _compared(citizen, citizen_now, tx)
    if told is None and other is not None:
        return _Decision(_under_former_number(citizen, other))
    return _compared(citizen, told, tx)


def _of_two(citizen_now: KnownCitizen | None) -> IntakeResult:
    if citizen_now is not None:
        return refused("formerPersonNumber", "is another citizen's, as is personNumber")
    return refused(
        "personNumber", "was replaced by another one, and formerPersonNumber is of another citizen"
    )


def _compared(citizen: ToldCitizen, known: KnownCitizen | None, tx: WriteTx) -> _Decision:
    if known is not None and known.is_merged:
        return _Decision(refused("personNumber", "is of a person who was merged into another"))
    row = row_of(citizen, known, tx)
    ids = (row.person_id, row.cv_id, row.cv_number)
    if known is not None and _is_late(citizen, known):
        return _Decision(IntakeResult("stale", known.person_id, known.cv_id, known.cv_number))
    if known is not None and row.state == known.state:
        newer = citizen.source_version > known.source_version
        seen = (known.person_id, citizen.source_version) if newer else None
        return _Decision(IntakeResult("unchanged", *ids), seen=seen)
    if known is not None and citizen.source_version == known.source_version:
        return _Decision(refused("sourceVersion", "was used for another state of this citizen"))
    new_number = row.cv_number is not None and (known is None or known.cv_number != row.cv_number)
    return _Decision(IntakeResult("applied", *ids), CitizenChange(row, _event(row, known), new_number))


def _is_late(citizen: ToldCitizen, known: KnownCitizen) -> bool:
    """Tell whether what is told is older than what is known; what the registry itself changed since is newer."""
    newest = known.source_version + 1 if known.changed_here else known.source_version
    return citizen.source_version < newest


def _under_former_number(citizen: ToldCitizen, known: KnownCitizen) -> IntakeResult:
    """Take what is told under a number that was replaced: it is late, or it is wrong."""
    if citizen.source_version <= known.source_version:
        return IntakeResult("stale", known.person_id, known.cv_id, known.cv_number)
    return refused("personNumber", "was replaced by another one")


def _numbers(citizen: ToldCitizen) -> list[str]:
    """Give the person numbers whose writes are kept out."""
    numbers = (citizen.person_number, citizen.former_person_number)
    return [number for number in numbers if number is not None]


def _event(row: CitizenRow, known: KnownCitizen | None) -> CitizenChanged:
    return CitizenChanged(
        id=uuid4(),
        subject=row.person_id,
        version=row.version,
        time=row.changed_at,
        change="registered" if known is None else "changed",
    )


def row_of(citizen: ToldCitizen, known: KnownCitizen | None, tx: WriteTx) -> CitizenRow:
    """Give the row that the citizen becomes: ids stay, a CV number is kept, replaced, withdrawn or drawn."""
    cv_id = CvId(uuid4()) if known is None else known.cv_id
    cv_number = _cv_number(citizen, known)
    return CitizenRow(
        person_id=PersonId(uuid4()) if known is None else known.person_id,
        person_number=citizen.person_number,
        cv_id=cv_id,
        cv_number=cv_number,
        version=tx.version_after(None if known is None else known.version),
        source_version=citizen.source_version,
        state=state_json(citizen, cv_id, cv_number),
        personal=personal_json(citizen),
        personal_protected=protected_personal_json(citizen),
        changed_at=tx.now,
    )


def _cv_number(citizen: ToldCitizen, known: KnownCitizen | None) -> str | None:
    if citizen.cv_number_withdrawn:
        return None
    if citizen.cv_number is not None:
        return citizen.cv_number
    return known.cv_number if known is not None else random_cv_number()
