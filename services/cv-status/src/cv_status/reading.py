"""GetCvStatus and GetAvailableCVStatusVersions: may it be shown, and the answer. No answer leaves before its access row."""

from datetime import date
from typing import Any, Final

import orjson

from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.policy import Decision, decide, fault_of_organisation
from cv_citizens.replica import Replica
from cv_contracts.faults import Fault
from cv_status.calls import ReadCall
from cv_status.store import FrozenVersion, Status, StatusStore
from servicekit.data.access_log import AccessLog, AccessRow
from servicekit.data.consistency import Applied

GET_CV_STATUS: Final = 6
GET_VERSIONS: Final = 8


class Reading:
    """Reads statuses and frozen versions."""

    def __init__(
        self, store: StatusStore, replica: Replica, applied: Applied, access_log: AccessLog, clock: Clock
    ) -> None:
        self._store = store
        self._replica = replica
        self._applied = applied
        self._access_log = access_log
        self._clock = clock

    async def get_cv_status(self, call: ReadCall) -> bytes:
        """Answer method 6, or raise the first fault that applies."""
        await admit(call, self._applied)
        citizen, status = await self._with_status(call.person_number)
        citizen, _ = permitted(call, citizen, self._today(), unknown=4102)
        if citizen.cv_number is None or call.cv_number not in (None, citizen.cv_number):
            raise Fault(4102)
        if status is None:
            status = await self._store.status(citizen.cv_id)
        await self._access_log.record(
            AccessRow(citizen.person_id, "GetCvStatus", call.caller, object_version=status.version)
        )
        return orjson.dumps({"CvStatus": _status_json(citizen.cv_number, status, dead=citizen.dead)})

    async def get_versions(self, call: ReadCall, status: int | None) -> bytes:
        """Answer method 8, or raise the first fault that applies."""
        await admit(call, self._applied)
        found = await self._replica.resolve("person_number", call.person_number)
        citizen, _ = permitted(call, found, self._today(), unknown=1010)
        versions = await self._store.versions(citizen.cv_id, status)
        await self._access_log.record(
            AccessRow(citizen.person_id, "GetAvailableCVStatusVersions", call.caller)
        )
        items = {"AvailableCVStatusVersionCollection": [_version_json(version) for version in versions]}
        return orjson.dumps(items if versions else {}, option=orjson.OPT_UTC_Z)

    def _today(self) -> date:
        return danish_today(self._clock)

    async def _with_status(self, person_number: str) -> tuple[Citizen | None, Status | None]:
        """Give citizen and status by one query where the replica is fresh; else the status is left to be read."""
        row = await self._store.with_citizen(person_number)
        found, status = row or (None, None)
        if found is not None and found.fresh:
            return found.citizen, status
        return await self._replica.confirm(found, "person_number", person_number), None


async def admit(call: ReadCall, applied: Applied) -> None:
    """Refuse organisations that may not use the method at all, then wait for what the caller has seen."""
    if code := fault_of_organisation(call.method, call.actor):
        raise Fault(code)
    await applied.wait_for(call.seen)


def permitted(
    call: ReadCall, citizen: Citizen | None, today: date, *, unknown: int
) -> tuple[Citizen, Decision]:
    """Give the citizen and how the caller may read, or raise the fault of who may not; `unknown` is that of no citizen."""
    if citizen is None:
        raise Fault(unknown)
    decision = decide(call.method, call.actor, citizen, today)
    if decision.fault is not None:
        raise Fault(decision.fault)
    return citizen, decision


def _status_json(cv_number: str, status: Status, *, dead: bool) -> dict[str, Any]:
    elements: dict[str, Any] = {
        "CvCustomerIdentifier": cv_number,
        "CvStatusIdentifier": status.number,
        "CVAvailability": "Inactive" if dead else "Active",
    }
    if status.comment is not None:
        elements["CvComment"] = status.comment
    return elements


def _version_json(version: FrozenVersion) -> dict[str, Any]:
    return {
        "CVStatusIdentifier": version.status,
        "CVVersionIdentifier": str(version.id),
        "CVVersionTime": version.frozen_at,
    }
