"""SetCvStatus: the checks in the order of the specification, the CV frozen as it is now, and the one short write."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import structlog

from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.policy import decide, fault_of_organisation, rule_for
from cv_citizens.replica import Replica, is_fresh, newest
from cv_contracts.codelists import UNKNOWN_MUNICIPALITY, CodeLists, CvStatus
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.faults import Fault, Precondition, Unavailable
from cv_contracts.ids import CvId
from cv_contracts.methods import METHOD_BY_NUMBER
from cv_contracts.topics import topic_of
from cv_contracts.wire.errors import read_body
from cv_contracts.wire.status import SetCvStatusRequest
from cv_status.calls import WriteCall
from cv_status.domain import (
    ACTIVE,
    StatusRule,
    fault_of_rules,
    fault_of_status,
    status_of,
)
from cv_status.registry import CvOfRegistry, RegistryCvs
from cv_status.store import Content, FrozenVersion, StatusStore
from servicekit.data.consistency import Applied
from servicekit.data.idempotency import FirstAnswer, RequestLog
from servicekit.data.postgres import WriteTx
from servicekit.web.calls import receipt
from servicekit.web.etags import holds_if_match

log = structlog.get_logger(__name__)

METHOD: Final = 4
UNREACHABLE: Final = METHOD_BY_NUMBER[METHOD].unreachable_fault
_CV_CHANGED: Final = topic_of(CVChanged).name


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the body asks for. An empty comment says nothing."""

    person_number: str = field(repr=False)
    cv_number: str = field(repr=False)
    status: CvStatus
    comment: str | None = field(repr=False)


class SetCvStatus:
    """Sets the status of a CV, and freezes the CV with the statuses that say so."""

    def __init__(
        self,
        *,
        store: StatusStore,
        replica: Replica,
        registry: RegistryCvs,
        applied: Applied,
        request_log: RequestLog,
        lists: CodeLists,
        rules: Sequence[StatusRule],
        clock: Clock,
    ) -> None:
        self._store = store
        self._replica = replica
        self._registry = registry
        self._applied = applied
        self._request_log = request_log
        self._lists = lists
        self._rules = rules
        self._clock = clock

    async def __call__(self, call: WriteCall, body: bytes) -> FirstAnswer:
        """Set it and give the receipt, or raise the first fault that applies."""
        wanted = self._read(body)
        if code := fault_of_organisation(METHOD, call.actor):
            raise Fault(code)
        resolved, asked = await self._citizen(call, wanted)
        citizen = self._permitted(call, wanted, resolved)
        if answer := await self._answered(call, citizen, body):
            return answer
        cv_id = citizen.cv_id
        cv = None
        if wanted.status.frozen or call.if_match is not None:
            cv = await self._cv(call, cv_id)
        async with self._store.database.write(*self._store.locks(cv_id, citizen.person_id)) as tx:
            if answer := await self._request_log.replay(tx, call.key(citizen), body):
                return answer
            standing = await self._store.for_setting(tx, citizen.person_id, cv_id)
            citizen = self._permitted(call, wanted, newest(citizen, standing.loaded, erased=standing.erased))
            if citizen.cv_id != cv_id or not (asked or is_fresh(standing.loaded)):
                # Merged with another registration meanwhile, so that neither lock nor content are those of this CV;
                # or the replica, by which it was decided, fell behind while this write waited.
                raise Fault(UNREACHABLE)
            self._check(call, wanted, citizen, cv)
            event = await self._write(tx, wanted, citizen, standing.version, cv)
            return await self._request_log.remember(tx, call.key(citizen), body, receipt(event))

    def _read(self, body: bytes) -> _Wanted:
        request = read_body(SetCvStatusRequest, body).CvStatusSet
        return _Wanted(
            request.PersonCivilRegistrationIdentifier,
            request.CvCustomerIdentifier,
            status_of(self._lists, request.CvStatusIdentifier),
            request.CvComment or None,
        )

    async def _citizen(self, call: WriteCall, wanted: _Wanted) -> tuple[Citizen | None, bool]:
        """Give the citizen, and whether the registry was asked because the replica is not fresh."""
        await self._applied.wait_for(call.seen)
        loaded = await self._replica.load("person_number", wanted.person_number)
        try:
            citizen = await self._replica.confirm(loaded, "person_number", wanted.person_number)
        except Unavailable:
            raise Fault(UNREACHABLE) from None
        return citizen, not is_fresh(loaded)

    def _permitted(self, call: WriteCall, wanted: _Wanted, citizen: Citizen | None) -> Citizen:
        """Check all that is about the citizen and the caller: relation, Jobnet's statuses, CV number."""
        if citizen is None:
            raise Fault(4103)
        decision = decide(METHOD, call.actor, citizen, danish_today(self._clock))
        if decision.fault is not None:
            raise Fault(decision.fault)
        if code := fault_of_status(rule_for(METHOD, call.actor), wanted.status):
            raise Fault(code)
        if citizen.cv_number != wanted.cv_number:
            raise Fault(4103)
        return citizen

    async def _answered(self, call: WriteCall, citizen: Citizen, body: bytes) -> FirstAnswer | None:
        """Look for the first answer before the registry is asked: a repeated request needs nothing of it."""
        if (key := call.key(citizen)) is None:
            return None
        locks = self._store.locks(citizen.cv_id, citizen.person_id)
        async with self._store.database.write(*locks) as tx:
            return await self._request_log.replay(tx, key, body)

    async def _cv(self, call: WriteCall, cv_id: CvId) -> CvOfRegistry | None:
        """Fetch the CV as it is now, at least as new as the caller has seen it."""
        try:
            cv = await self._registry.cv(cv_id, call.caller)
        except Exception as error:
            log.warning("registry_gave_no_cv", error_type=type(error).__name__)
            raise Fault(UNREACHABLE) from error
        seen = call.seen.entries.get((_CV_CHANGED, cv_id))
        if seen is not None and (cv is None or cv.version < seen):
            raise Fault(UNREACHABLE)
        return cv

    def _check(self, call: WriteCall, wanted: _Wanted, citizen: Citizen, cv: CvOfRegistry | None) -> None:
        """Check what comes after the citizen: the CV's state, the method's own rules, the caller's condition."""
        if wanted.status.frozen and _to_freeze(cv, citizen) is None:
            raise Fault(4103)
        code = fault_of_rules(
            self._rules,
            rule_for(METHOD, call.actor),
            call.caller.active.type,
            self._lists.contact_groups.get(citizen.contact_group or 0),
            comment=wanted.comment is not None,
        )
        if code:
            raise Fault(code)
        if not holds_if_match(call.if_match, cv.version if cv else None):
            raise Precondition

    async def _write(
        self, tx: WriteTx, wanted: _Wanted, citizen: Citizen, previous: int | None, cv: CvOfRegistry | None
    ) -> StatusSet:
        content = _to_freeze(cv, citizen) if wanted.status.frozen else None
        event = StatusSet(
            id=uuid4(),
            subject=citizen.cv_id,
            version=tx.version_after(previous),
            time=tx.now,
            cv_version=content.cv_version if content else None,
        )
        if content is not None:
            await self._store.freeze(
                tx, citizen.cv_id, self._frozen(event, wanted, citizen, content), content
            )
        await self._store.set(tx, citizen.person_id, event, wanted.status.id, wanted.comment)
        return event

    def _frozen(self, event: StatusSet, wanted: _Wanted, citizen: Citizen, content: Content) -> FrozenVersion:
        return FrozenVersion(
            id=uuid4(),
            version=event.version,
            status=wanted.status.id,
            comment=wanted.comment,
            municipality=citizen.municipality(danish_today(self._clock)) or UNKNOWN_MUNICIPALITY,
            frozen_at=event.time,
            cv_version=content.cv_version,
            content_hash=content.hash,
        )


def _to_freeze(cv: CvOfRegistry | None, citizen: Citizen) -> Content | None:
    """Give what can be frozen: the content of a CV in state ACTIVE; death disables a CV."""
    return cv.content if cv is not None and cv.state == ACTIVE and not citizen.dead else None
