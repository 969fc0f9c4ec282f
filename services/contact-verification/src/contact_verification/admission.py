"""Whether a caller may act for a citizen: decided before the write, and again by the state that the write has locked."""

from dataclasses import dataclass

from contact_verification.calls import Call
from contact_verification.store import ContactStore
from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.policy import decide, fault_of_organisation
from cv_citizens.replica import Number, Replica, is_fresh, newest
from cv_contracts.faults import Fault, Unavailable
from servicekit.data.consistency import Applied
from servicekit.data.postgres import WriteTx


@dataclass(frozen=True, slots=True)
class Admitted:
    """A citizen whom the caller may act for, and whether the registry was asked because the replica is not fresh."""

    citizen: Citizen
    asked: bool


class Admission:
    """The checks about organisation and citizen, in the order of the specification."""

    def __init__(self, store: ContactStore, replica: Replica, applied: Applied, clock: Clock) -> None:
        self._store = store
        self._replica = replica
        self._applied = applied
        self._clock = clock

    def organisation(self, call: Call) -> None:
        """Refuse an organisation that may not use the method at all."""
        if code := fault_of_organisation(call.method, call.actor):
            raise Fault(code)

    async def citizen(self, call: Call, by: Number, number: str, *, unknown: int) -> Admitted:
        """Find the citizen, and refuse a caller who may not act for them."""
        await self._applied.wait_for(call.seen)
        loaded = await self._replica.load(by, number)
        citizen = await self._replica.confirm(loaded, by, number)
        return Admitted(self._permitted(call, citizen, unknown), asked=not is_fresh(loaded))

    async def lock(self, tx: WriteTx, call: Call, admitted: Admitted, *, unknown: int) -> Citizen:
        """Lock the citizen, and decide again by the state found; an erasure and a hand-over wait for the transaction's end.

        Raises Unavailable if the replica, by which it was decided, fell behind while the write waited.
        """
        standing = await self._store.standing(tx, admitted.citizen.person_id)
        present = newest(admitted.citizen, standing.loaded, erased=standing.erased)
        citizen = self._permitted(call, present, unknown)
        if not (admitted.asked or is_fresh(standing.loaded)):
            raise Unavailable(retry_after=1)
        return citizen

    def _permitted(self, call: Call, citizen: Citizen | None, unknown: int) -> Citizen:
        if citizen is None:
            raise Fault(unknown)
        decision = decide(call.method, call.actor, citizen, danish_today(self._clock))
        if decision.fault is not None:
            raise Fault(decision.fault)
        return citizen
