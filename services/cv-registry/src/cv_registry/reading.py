"""GetCV and GetCVByCVNumber: may it be shown, to whom with the address, and the answer put together from stored JSON."""

from datetime import date
from typing import Final

import orjson

from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.policy import Actor, decide, fault_of_organisation
from cv_contracts.codelists import CodeLists
from cv_contracts.faults import Fault
from cv_contracts.ids import CvId
from cv_contracts.wire.cv_profile import GetCVByCVNumberRequest
from cv_contracts.wire.errors import read_body
from cv_registry.contacts import shown
from cv_registry.domain import CvState, fault_of_reading, may_be_shown_by_number
from cv_registry.store_cvs import CvStore, ReadableCv
from servicekit.caller import Caller
from servicekit.data.access_log import AccessLog, AccessRow
from servicekit.data.consistency import Applied, ConsistencyToken
from servicekit.web.etags import etag

GET_CV: Final = 1
GET_CV_BY_CV_NUMBER: Final = 10

Shown = tuple[str, bytes]
"""ETag and body of an answer."""


class Reading:
    """Reads CVs. No answer leaves before its access row is durable."""

    def __init__(
        self, store: CvStore, applied: Applied, access_log: AccessLog, lists: CodeLists, clock: Clock
    ) -> None:
        self._store = store
        self._applied = applied
        self._access_log = access_log
        self._clock = clock
        self._lists = lists

    async def get_cv(self, caller: Caller, person_number: str, seen: ConsistencyToken) -> Shown:
        """Answer method 1, or raise the first fault that applies.

        Writes of the registry itself are seen at once; for `seen` of what it follows the read waits (else Unavailable).
        """
        cv, with_address = await self.readable(GET_CV, caller, person_number, seen, unknown=1010)
        body = b'{"Municipality":%b%b,"CVProfile":%b}' % (
            self.municipality(cv),
            _status(cv),
            self.profile(cv, with_address=with_address),
        )
        await self._access_log.record(access_row(cv, "GetCV", caller))
        return etag(cv.version or 0), body

    async def readable(
        self, method: int, caller: Caller, person_number: str, seen: ConsistencyToken, *, unknown: int
    ) -> tuple[ReadableCv, bool]:
        """Give the CV if it may be read now, and whether with the address; else raise the first fault that applies."""
        actor = Actor.of(caller)
        if code := fault_of_organisation(method, actor):
            raise Fault(code)
        await self._applied.wait_for(seen)
        cv = await self._store.by_person_number(person_number)
        if cv is None:
            raise Fault(unknown)
        decision = decide(method, actor, cv.citizen, self.today())
        if decision.fault is not None:
            raise Fault(decision.fault)
        if cv.citizen.cv_number is None:
            raise Fault(4103)
        if code := fault_of_reading(cv.state, dead=cv.citizen.dead):
            raise Fault(code)
        return cv, decision.shows_address_of(cv.citizen)

    async def get_cv_by_cv_number(self, caller: Caller, body: bytes, seen: ConsistencyToken) -> Shown:
        """Answer method 10, or raise the first fault that applies; without consent nobody learns which numbers exist."""
        request = read_body(GetCVByCVNumberRequest, body)
        actor = Actor.of(caller)
        if code := fault_of_organisation(GET_CV_BY_CV_NUMBER, actor):
            raise Fault(code)
        if not request.CitizenConsentObtained:
            raise Fault(9192)
        await self._applied.wait_for(seen)
        cv = await self._by_cv_number(request.CVNumber)
        decision = decide(GET_CV_BY_CV_NUMBER, actor, cv.citizen, self.today())
        if not may_be_shown_by_number(cv.state, dead=cv.citizen.dead):
            raise Fault(4103)
        answer = b'{"CVProfile":%b}' % self.profile(cv, with_address=decision.shows_address_of(cv.citizen))
        await self._access_log.record(access_row(cv, "GetCVByCVNumber", caller, consent=True))
        return etag(cv.version or 0), answer

    async def for_freezing(self, cv_id: CvId, caller: Caller | None) -> bytes | None:
        """Give cv-status, on behalf of its caller, the CV as it is now, whatever its state; None if there never was one.

        With the address: who may see it is decided when the frozen version is shown.
        """
        cv = await self._store.by_cv_id(cv_id)
        if cv is None or cv.state is None or cv.citizen.cv_number is None:
            return None
        deleted = cv.state is CvState.DELETED
        content = b"null" if deleted else self.profile(cv, with_address=True)
        await self._access_log.record(
            AccessRow(
                cv.citizen.person_id, "SetCvStatus", caller, service="cv-status", object_version=cv.version
            )
        )
        return b'{"version":%d,"state":"%b","content":%b}' % (cv.version or 0, cv.state.encode(), content)

    async def _by_cv_number(self, cv_number: str) -> ReadableCv:
        cv = await self._store.by_cv_number(cv_number)
        if cv is None:
            raise Fault(4103 if await self._store.is_retired(cv_number) else 4400)
        return cv

    def today(self) -> date:
        return danish_today(self._clock)

    def municipality(self, cv: ReadableCv) -> bytes:
        """Give the JSON of the citizen's municipality today."""
        code, name = self._lists.municipality(cv.citizen.municipality(self.today()))
        return orjson.dumps({"MunicipalityCode": code, "MunicipalityName": name})

    def profile(self, cv: ReadableCv, *, with_address: bool) -> bytes:
        """Put CVProfile together from JSON that was made when it was stored."""
        personal = cv.personal if with_address or cv.personal_protected is None else cv.personal_protected
        return b'{"JobnetCVId":%b,"PersonalData":%b%b},%b}' % (
            (cv.citizen.cv_number or "").encode(),
            personal,
            shown(cv.contact, self._lists),
            cv.content or b"",
        )


def _status(cv: ReadableCv) -> bytes:
    """Give the elements of the status as members of an object; none when it was never set, or nothing is built to know it."""
    if cv.status is None:
        return b""
    if cv.status_comment is None:
        return b',"CVStatusIdentifier":%d' % cv.status
    return b',"CVStatusIdentifier":%d,"CVComment":%b' % (cv.status, orjson.dumps(cv.status_comment))


def access_row(cv: ReadableCv, method: str, caller: Caller, *, consent: bool = False) -> AccessRow:
    return AccessRow(
        subject=cv.citizen.person_id,
        method=method,
        caller=caller,
        purpose="consent" if consent else None,
        object_version=cv.version,
        detail={"consent": True} if consent else {},
    )
