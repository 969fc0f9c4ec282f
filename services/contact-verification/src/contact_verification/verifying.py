"""VerifyPersonContactData and RequestNewVerificationCode, for citizens on Jobnet."""

import math
from collections.abc import Mapping
from typing import Final

from contact_verification.admission import Admission, Admitted
from contact_verification.calls import Call
from contact_verification.domain import VERIFIED, Contact, fault_of_code
from contact_verification.store import ContactStore
from contact_verification.store_codes import CodeStore
from contact_verification.values import kind_of
from cv_citizens.citizen import Citizen
from cv_contracts.codelists import CodeLists, ContactDataType
from cv_contracts.events.contact_verification import ContactVerified, VerificationCodeRequested
from cv_contracts.faults import Fault, TooMany
from cv_contracts.wire.contact import RequestNewVerificationCodeRequest, VerifyPersonContactDataRequest
from cv_contracts.wire.errors import read_body
from servicekit.data.idempotency import FirstAnswer, RequestLog
from servicekit.data.postgres import WriteTx
from servicekit.web.calls import receipt

VERIFY: Final = 15
REQUEST_NEW: Final = 16


class Verifying:
    """Checks codes and sends new ones."""

    def __init__(
        self,
        *,
        store: ContactStore,
        codes: CodeStore,
        admission: Admission,
        request_log: RequestLog,
        lists: CodeLists,
        statuses: Mapping[str, int],
    ) -> None:
        self._store = store
        self._codes = codes
        self._admission = admission
        self._request_log = request_log
        self._lists = lists
        self._statuses = statuses

    async def verify(self, call: Call, body: bytes) -> FirstAnswer:
        """Answer method 15, or raise the first fault that applies."""
        self._admission.organisation(call)
        request = read_body(VerifyPersonContactDataRequest, body)
        kind = kind_of(self._lists, request.PersonContactDataTypeIdentifier, "")
        admitted = await self._citizen(call, request.CvCustomerIdentifier)
        async with self._store.database.write(self._store.lock(admitted.citizen.person_id)) as tx:
            citizen = await self._admission.lock(tx, call, admitted, unknown=4400)
            if answer := await self._request_log.replay(tx, call.key(citizen), body):
                return answer
            await self._contacts(tx, citizen, kind, renewing=False)
            right = await self._codes.guess(tx, citizen.person_id, kind.id, request.VerificationCode)
            if right:
                answer = receipt(await self._verified(tx, citizen, kind))
                return await self._request_log.remember(tx, call.key(citizen), body, answer)
        # Raised outside: the guess that was counted must be committed.
        raise Fault(9241)

    async def request_new(self, call: Call, body: bytes) -> FirstAnswer:
        """Answer method 16, or raise the first fault that applies; TooMany (429) when it is too early."""
        self._admission.organisation(call)
        request = read_body(RequestNewVerificationCodeRequest, body)
        kind = kind_of(self._lists, request.PersonContactDataTypeIdentifier, "")
        admitted = await self._citizen(call, request.CvCustomerIdentifier)
        async with self._store.database.write(self._store.lock(admitted.citizen.person_id)) as tx:
            citizen = await self._admission.lock(tx, call, admitted, unknown=4400)
            if answer := await self._request_log.replay(tx, call.key(citizen), body):
                return answer
            event = await self._renewed(tx, citizen, kind)
            return await self._request_log.remember(tx, call.key(citizen), body, receipt(event))

    async def _citizen(self, call: Call, cv_number: str) -> Admitted:
        return await self._admission.citizen(call, "cv_number", cv_number, unknown=4400)

    async def _contacts(
        self, tx: WriteTx, citizen: Citizen, kind: ContactDataType, *, renewing: bool
    ) -> Mapping[int, Contact]:
        """Give the contact data, or raise the fault of a type that no code is for."""
        contacts = await self._store.contacts(tx, citizen.person_id)
        if code := fault_of_code(contacts, kind, self._statuses, renewing=renewing):
            raise Fault(code)
        return contacts

    async def _verified(self, tx: WriteTx, citizen: Citizen, kind: ContactDataType) -> ContactVerified:
        person = citizen.person_id
        version = await self._store.next_version(tx, person)
        await self._codes.use_up(tx, person, kind.id)
        status = self._statuses[VERIFIED]
        await self._store.set_status(tx, person, kind.id, status, verified=True)
        return await self._store.publish(tx, ContactVerified, person, version)

    async def _renewed(
        self, tx: WriteTx, citizen: Citizen, kind: ContactDataType
    ) -> VerificationCodeRequested:
        person = citizen.person_id
        contact = (await self._contacts(tx, citizen, kind, renewing=True))[kind.id]
        if contact.period is None or contact.blind is None:
            raise Fault(9242)
        hashes = await self._store.hashes(tx, contact)
        wait = await self._codes.wait(tx, person, hashes, interval_of_person=True)
        if wait is not None:
            raise TooMany(retry_after=math.ceil(wait.total_seconds()))
        await self._codes.send(tx, person, kind.id, contact.period, contact.blind)
        version = await self._store.next_version(tx, person)
        return await self._store.publish(tx, VerificationCodeRequested, person, version)
