"""SavePersonContactStatus, and the statuses that a provider's answer sets: what cannot be delivered."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import structlog

from contact_verification.admission import Admission
from contact_verification.calls import Call
from contact_verification.domain import BLOCKED, UNDELIVERABLE, VERIFIED
from contact_verification.keys import BlindIndex
from contact_verification.store import ContactStore
from contact_verification.values import find_mail, kind_of
from cv_citizens.citizen import Citizen
from cv_contracts.codelists import CodeLists
from cv_contracts.events.contact_verification import ContactStatusSaved
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.common import is_person_number
from cv_contracts.wire.contact import SavePersonContactStatusRequest
from cv_contracts.wire.errors import read_body
from servicekit.data.idempotency import FirstAnswer, RequestLog
from servicekit.data.postgres import WriteTx
from servicekit.web.calls import receipt

log = structlog.get_logger(__name__)

METHOD: Final = 19
UNKNOWN_CODE: Final = {1: 4985, 8: 4986}
"""Faults of an a-kasse and of a jobcenter that no list knows."""
NOT_THERE: Final = FieldError("PersonContactDataTypeIdentifier", "names a type that the citizen has not got")

_OF_MESSAGE: Final = """
select c.person_id, c.type, c.period_id from messages m join contacts c on c.period_id = m.period_id where m.id = $1
"""
_OF_BLIND: Final = """
select c.person_id, c.type, c.period_id from periods p join contacts c on c.period_id = p.id
where p.blind = any($1) and p.ends is null
"""


class ContactStatuses:
    """Sets the status of one type of contact data."""

    def __init__(
        self,
        *,
        store: ContactStore,
        admission: Admission,
        request_log: RequestLog,
        blind: BlindIndex,
        lists: CodeLists,
        statuses: Mapping[str, int],
    ) -> None:
        self._store = store
        self._admission = admission
        self._request_log = request_log
        self._blind = blind
        self._lists = lists
        self._statuses = statuses

    async def save(self, call: Call, body: bytes) -> FirstAnswer:
        """Answer method 19, or raise the first fault that applies."""
        active = call.caller.active
        unknown = UNKNOWN_CODE.get(active.type)
        if unknown is not None and not self._lists.knows_organisation(active.type, active.code):
            raise Fault(unknown)
        if not is_person_number(call.citizen):
            raise Fault(1001)
        request = read_body(SavePersonContactStatusRequest, body)
        self._admission.organisation(call)
        admitted = await self._admission.citizen(call, "person_number", call.citizen, unknown=1010)
        async with self._store.database.write(self._store.lock(admitted.citizen.person_id)) as tx:
            citizen = await self._admission.lock(tx, call, admitted, unknown=1010)
            if answer := await self._request_log.replay(tx, call.key(citizen), body):
                return answer
            event = await self._saved(tx, citizen, request)
            return await self._request_log.remember(tx, call.key(citizen), body, receipt(event))

    async def _saved(
        self, tx: WriteTx, citizen: Citizen, request: SavePersonContactStatusRequest
    ) -> ContactStatusSaved:
        kind = kind_of(self._lists, request.PersonContactDataTypeIdentifier, "")
        status = self._lists.contact_statuses.get(request.PersonContactDataStatusTypeIdentifier)
        if status is None:
            raise Fault(9193)
        contact = (await self._store.contacts(tx, citizen.person_id)).get(kind.id)
        if contact is None or not contact.present:
            raise Fault(1014, errors=(NOT_THERE,))
        return await self._set(tx, citizen.person_id, kind.id, status.id)

    async def undeliverable_message(self, message: UUID) -> int:
        """Take a bounce of a message we sent; gives how many contacts have now status 3."""
        rows = await self._store.database.fetch(_OF_MESSAGE, message)
        return await self._undeliverable([tuple(row) for row in rows])

    async def undeliverable_mail(self, address: str) -> int:
        """Take a bounce that names the address only; everyone who has it is meant."""
        value = find_mail(address)
        if value is None:
            return 0
        hashes = self._blind.all_of(self._lists.contact_type_id("EMAIL"), value.form)
        rows = await self._store.database.fetch(_OF_BLIND, hashes)
        return await self._undeliverable([tuple(row) for row in rows])

    async def undeliverable_period(self, person: UUID, contact_type: int, period: UUID) -> bool:
        """Set status 3 for a value, if it is still the present one and nobody has blocked it; tells whether it has it now."""
        async with self._store.database.write(self._store.lock(person)) as tx:
            contact = (await self._store.contacts(tx, person)).get(contact_type)
            if contact is None or contact.period != period or contact.status == self._statuses[BLOCKED]:
                return False
            if contact.status != self._statuses[UNDELIVERABLE]:
                await self._set(tx, person, contact_type, self._statuses[UNDELIVERABLE])
            return True

    async def _undeliverable(self, found: Sequence[tuple[UUID, int, UUID]]) -> int:
        done = [await self.undeliverable_period(*one) for one in found]
        log.info("bounce_taken", count=sum(done))
        return sum(done)

    async def _set(self, tx: WriteTx, person: UUID, contact_type: int, status: int) -> ContactStatusSaved:
        verified = status == self._statuses[VERIFIED]
        await self._store.set_status(tx, person, contact_type, status, verified=verified)
        version = await self._store.next_version(tx, person)
        return await self._store.publish(tx, ContactStatusSaved, person, version)
