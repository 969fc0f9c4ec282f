"""ReplaceCV: the checks in the order of the specification, and the one short write."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import asyncpg

from cv_citizens.citizen import JOBCENTER
from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.policy import decide, fault_of_organisation
from cv_contracts.codelists import CodeLists
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.faults import Fault, FieldError, Precondition
from cv_contracts.wire.checks import check_code_lists, unknown_taxonomy
from cv_contracts.wire.errors import read_body
from cv_contracts.wire.replace_cv import ReplaceContactInformationType, ReplaceCVRequest
from cv_registry.calls import WriteCall
from cv_registry.contacts import NOT_SAVED, Contacts, PreparedContact
from cv_registry.content import brings_contact, content_json
from cv_registry.domain import fault_of_replacing, fault_of_window
from cv_registry.store_cvs import CvStore, ReplaceableCv
from servicekit.data.idempotency import FirstAnswer, RequestLog
from servicekit.data.postgres import WriteTx
from servicekit.web.calls import receipt
from servicekit.web.etags import etag, holds_if_match

METHOD: Final = 13
ATTEMPTS: Final = 3
"""So often a replace is decided on anew where others were faster; then it is 4823."""
DECIDED: Final = "contact_decisions_once"
"""The constraint that a replace breaks whose prepared contact data were called abandoned meanwhile."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request that was read before the transaction: its content, or why it cannot become one (9233)."""

    body: bytes = field(repr=False)
    if_match: str | None
    content: bytes = field(repr=False)
    errors: tuple[FieldError, ...]
    contact: ReplaceContactInformationType = field(repr=False)


class Replacing:
    """Creates or replaces the CV of a citizen."""

    def __init__(
        self,
        store: CvStore,
        request_log: RequestLog,
        contacts: Contacts | None,
        lists: CodeLists,
        clock: Clock,
    ) -> None:
        self._store = store
        self._request_log = request_log
        self._contacts = contacts
        self._lists = lists
        self._clock = clock

    async def replace(self, call: WriteCall, body: bytes, if_match: str | None) -> FirstAnswer:
        """Replace, or raise the first fault that applies."""
        prepared = self._prepare(body, if_match)
        if code := fault_of_organisation(METHOD, call.actor):
            raise Fault(code)
        for _ in range(ATTEMPTS):
            if answer := await self._attempt(call, prepared):
                return answer
        raise Fault(4823)

    async def _attempt(self, call: WriteCall, prepared: _Prepared) -> FirstAnswer | None:
        """Decide, have the contact data prepared, and write; None where what was decided on has changed meanwhile.

        Contact data that were prepared before another replace's were have a lower version, and would never be shown.
        """
        decided = await self._decide(call, prepared)
        if isinstance(decided, FirstAnswer):
            return decided
        contact = None
        if self._contacts is not None:
            # In no transaction, for another service is asked. What nobody commits then, it settles with us later.
            contact = await self._contacts.prepare(decided.citizen.person_id, prepared.contact)
        async with self._writing(call) as tx:
            if answer := await self._request_log.replay(tx, call.key(decided.citizen), prepared.body):
                return answer
            return await self._replace(tx, call, prepared, decided, contact)

    def _prepare(self, body: bytes, if_match: str | None) -> _Prepared:
        request = read_body(ReplaceCVRequest, body)
        if unknown := check_code_lists(request, self._lists):
            raise Fault(1014, errors=tuple(unknown))
        errors = tuple(unknown_taxonomy(request, self._lists))
        content = b"" if errors else content_json(request, self._lists)
        return _Prepared(body, if_match, content, errors, request.ContactInformation)

    def _writing(self, call: WriteCall) -> AbstractAsyncContextManager[WriteTx]:
        """Let calls of one request id wait for each other, so that all get the first answer; others need one statement."""
        database = self._store.database
        return database.single_write() if call.request_id is None else database.write(call.lock)

    async def _decide(self, call: WriteCall, prepared: _Prepared) -> ReplaceableCv | FirstAnswer:
        """Give the CV if it may be replaced, or the first answer to this request; raises the first fault that applies."""
        if call.request_id is None:
            cv = self._permitted(await self._store.for_replacing(call.person_number), call)
        else:
            async with self._writing(call) as tx:
                # Read once nobody else is at this request: its first call, still writing, is no reason for 4823.
                cv = self._permitted(await self._store.for_replacing(call.person_number, tx), call)
                if answer := await self._request_log.replay(tx, call.key(cv.citizen), prepared.body):
                    return answer
        self._check(cv, call)
        if prepared.errors:
            raise Fault(9233, errors=prepared.errors)
        if not holds_if_match(prepared.if_match, cv.version):
            raise Precondition
        if self._contacts is None and brings_contact(prepared.contact):
            raise Fault(NOT_SAVED)
        return cv

    async def _replace(
        self,
        tx: WriteTx,
        call: WriteCall,
        prepared: _Prepared,
        decided: ReplaceableCv,
        contact: PreparedContact | None,
    ) -> FirstAnswer | None:
        event = CVChanged(
            id=uuid4(),
            subject=decided.citizen.cv_id,
            version=tx.version_after(decided.version),
            time=tx.now,
            change="created" if decided.version is None else "replaced",
        )
        try:
            done = await self._store.replace(
                tx, call.person_number, decided, prepared.content, event=event, contact=contact
            )
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != DECIDED:
                raise
            raise Fault(NOT_SAVED) from None
        if not done:
            return None
        answer = receipt(event, etag=etag(event.version))
        return await self._request_log.remember(tx, call.key(decided.citizen), prepared.body, answer)

    def _permitted(self, cv: ReplaceableCv | None, call: WriteCall) -> ReplaceableCv:
        if cv is None:
            raise Fault(4103)
        if code := decide(METHOD, call.actor, cv.citizen, danish_today(self._clock)).fault:
            raise Fault(code)
        return cv

    def _check(self, cv: ReplaceableCv, call: WriteCall) -> None:
        citizen = cv.citizen
        if citizen.cv_number is None:
            raise Fault(4103)
        if code := fault_of_replacing(cv.state, dead=citizen.dead):
            raise Fault(code)
        if not cv.free:
            raise Fault(4823)
        if call.actor.organisation_type == JOBCENTER:
            group = self._lists.contact_groups.get(citizen.contact_group or 0)
            may_replace = group is not None and group.replace_cv
            if code := fault_of_window(cv.dates, danish_today(self._clock), group_may_replace=may_replace):
                raise Fault(code)
