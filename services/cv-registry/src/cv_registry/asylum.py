"""CreateAsylumCVTransition and UpdateAsylumCVTransition: dates between which a jobcenter may replace a CV."""

from datetime import timedelta
from typing import Final
from uuid import uuid4

from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.policy import decide, fault_of_organisation
from cv_contracts.codelists import CodeLists
from cv_contracts.events.cv_registry import AsylumTransitionSet
from cv_contracts.faults import Fault, FieldError, Precondition
from cv_contracts.wire.asylum import CreateAsylumCVTransitionRequest, UpdateAsylumCVTransitionRequest
from cv_contracts.wire.errors import read_body
from cv_registry.calls import WriteCall
from cv_registry.domain import AsylumDates, fault_of_dates, fault_of_update
from cv_registry.store_citizens import CitizenStore
from servicekit.data.idempotency import FirstAnswer, RequestLog
from servicekit.web.calls import receipt
from servicekit.web.etags import etag, holds_if_match

CREATE: Final = 11
UPDATE: Final = 12
_THERE_ALREADY: Final = FieldError("AsylumCVTransitionDate", "is registered already; update it instead")

Request = CreateAsylumCVTransitionRequest | UpdateAsylumCVTransitionRequest


class AsylumTransitions:
    """Registers and corrects the dates of a citizen."""

    def __init__(
        self, store: CitizenStore, request_log: RequestLog, lists: CodeLists, clock: Clock, longest: timedelta
    ) -> None:
        self._store = store
        self._request_log = request_log
        self._lists = lists
        self._clock = clock
        self._longest = longest

    async def set(self, call: WriteCall, body: bytes, if_match: str | None = None) -> FirstAnswer:
        """Set the dates by method 11 or 12, or raise the first fault that applies. `if_match`: of which dates an update was made."""
        request = _read(call.method, body)
        if code := fault_of_organisation(call.method, call.actor):
            raise Fault(code)
        async with self._store.database.write(self._store.lock(call.person_number)) as tx:
            known = await self._store.with_asylum(tx, call.person_number)
            if known is None:
                raise Fault(1010)
            citizen = known.citizen
            self._permit(citizen, call)
            if answer := await self._request_log.replay(tx, call.key(citizen), body):
                return answer
            self._check(request, citizen, known.dates)
            if not holds_if_match(if_match, known.asylum_version):
                raise Precondition
            event = AsylumTransitionSet(
                id=uuid4(),
                subject=citizen.person_id,
                version=tx.version_after(known.asylum_version),
                time=tx.now,
                change="created" if call.method == CREATE else "updated",
            )
            await self._store.set_asylum(tx, _dates(request), _comment(request), event)
            answer = receipt(event, etag=etag(event.version))
            return await self._request_log.remember(tx, call.key(citizen), body, answer)

    def _permit(self, citizen: Citizen, call: WriteCall) -> None:
        decision = decide(call.method, call.actor, citizen, danish_today(self._clock))
        if decision.fault is not None:
            raise Fault(decision.fault)

    def _check(self, request: Request, citizen: Citizen, present: AsylumDates | None) -> None:
        is_update = isinstance(request, UpdateAsylumCVTransitionRequest)
        if present is not None and not is_update:
            raise Fault(1014, errors=(_THERE_ALREADY,))
        group = self._lists.contact_groups.get(citizen.contact_group or 0)
        may_have = group is not None and group.asylum_dates
        wanted = _dates(request)
        code = fault_of_dates(wanted, self._longest, group_may_have=may_have)
        if code is None and is_update:
            code = fault_of_update(present, wanted, _comment(request), danish_today(self._clock))
        if code is not None:
            raise Fault(code)


def _read(method: int, body: bytes) -> Request:
    if method == CREATE:
        return read_body(CreateAsylumCVTransitionRequest, body)
    return read_body(UpdateAsylumCVTransitionRequest, body)


def _dates(request: Request) -> AsylumDates:
    return AsylumDates(request.AsylumCVTransitionDate, request.CVEditEndDate)


def _comment(request: Request) -> str | None:
    return request.CorrectionComment if isinstance(request, UpdateAsylumCVTransitionRequest) else None
