"""Whether a caller may act for a citizen: decided before the write, and again by the state that the write holds."""

from contact_verification.calls import Call
from contact_verification.store import ContactStore
from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.policy import decide, fault_of_organisation
from cv_citizens.replica import Number, Replica, newest
from cv_contracts.faults import Fault
from servicekit.data.postgres import WriteTx
from servicekit.follow.applied import Applied


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

    async def citizen(self, call: Call, by: Number, number: str, *, unknown: int) -> Citizen:
        """Find the citizen, and refuse a caller who may not act for them."""
        await self._applied.wait_for(call.seen)
        return self._permitted(call, await self._replica.resolve(by, number), unknown)

    async def hold(self, tx: WriteTx, call: Call, citizen: Citizen, *, unknown: int) -> Citizen:
        """Decide again by the citizen as the transaction holds it; an erasure and a hand-over wait for its end."""
        standing = await self._store.standing(tx, citizen.person_id)
        return self._permitted(call, newest(citizen, standing.loaded, erased=standing.erased), unknown)

    def _permitted(self, call: Call, citizen: Citizen | None, unknown: int) -> Citizen:
        if citizen is None:
            raise Fault(unknown)
        decision = decide(call.method, call.actor, citizen, danish_today(self._clock))
        if decision.fault is not None:
            raise Fault(decision.fault)
        return citizen
