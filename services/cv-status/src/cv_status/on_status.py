"""GetCVOnStatus: which frozen version is meant, may it be shown and with the address, and the document of it."""

from typing import Any

import orjson

from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.replica import Replica
from cv_contracts.faults import Fault
from cv_contracts.ids import CvId
from cv_contracts.wire.status import GetCVOnStatusQuery
from cv_status.calls import ReadCall
from cv_status.frozen import FrozenDocuments
from cv_status.reading import admit, permitted
from cv_status.store import FrozenVersion, StatusStore, WholeVersion
from servicekit.data.access_log import AccessLog, AccessRow
from servicekit.data.consistency import Applied


class OnStatus:
    """Answers GetCVOnStatus. No document leaves before its access row."""

    def __init__(
        self,
        *,
        store: StatusStore,
        replica: Replica,
        applied: Applied,
        access_log: AccessLog,
        frozen: FrozenDocuments,
        clock: Clock,
    ) -> None:
        self._store = store
        self._replica = replica
        self._applied = applied
        self._access_log = access_log
        self._frozen = frozen
        self._clock = clock

    async def __call__(self, call: ReadCall, query: GetCVOnStatusQuery) -> bytes:
        """Answer method 7, or raise the first fault that applies."""
        await admit(call, self._applied)
        found = await self._replica.resolve("person_number", call.person_number)
        citizen, decision = permitted(call, found, danish_today(self._clock), unknown=1010)
        if citizen.cv_number is None:
            raise Fault(4103)
        whole = await self._version(citizen.cv_id, query)
        document = await self._frozen.rendered(whole, with_address=decision.shows_address_of(citizen))
        version = whole.version
        await self._access_log.record(
            AccessRow(
                citizen.person_id,
                "GetCVOnStatus",
                call.caller,
                object_version=version.version,
                detail={"version": str(version.id)},
            )
        )
        item = self._item(version, document.base64)
        return orjson.dumps({"CVOnStatusItem": item}, option=orjson.OPT_UTC_Z)

    async def _version(self, cv_id: CvId, query: GetCVOnStatusQuery) -> WholeVersion:
        """Give the version asked for, or raise 9110-9113; by status it is the newest that has it."""
        status, version_id = query.CVStatusIdentifier, query.CVVersionIdentifier
        if version_id is None:
            if status is None:
                raise Fault(9113)
            newest = await self._store.newest(cv_id, status)
            if newest is None:
                raise Fault(9111)
            version_id = newest.id
        whole = await self._store.whole(cv_id, version_id)
        if whole is None:
            raise Fault(9110)
        if status not in (None, whole.version.status):
            raise Fault(9112)
        return whole

    def _item(self, version: FrozenVersion, pdf: str) -> dict[str, Any]:
        code, name = self._frozen.municipality(version)
        elements: dict[str, Any] = {
            "CompleteCVAsPdfResult": pdf,
            "Municipality": {"MunicipalityCode": code, "MunicipalityName": name},
            "CVStatusIdentifier": version.status,
        }
        if version.comment is not None:
            elements["CVComment"] = version.comment
        elements["CVVersionIdentifier"] = str(version.id)
        elements["CVVersionTime"] = version.frozen_at
        return elements
