"""SavePersonContactData: all types of one call or none."""

from typing import Final

from contact_verification.admission import Admission
from contact_verification.calls import Call
from contact_verification.store import ContactStore
from contact_verification.store_codes import CodeStore, verifiable
from contact_verification.values import Wanted, kind_of, value_of
from cv_citizens.citizen import JOBNET, Citizen
from cv_citizens.replica import Number
from cv_contracts.codelists import CodeLists
from cv_contracts.events.contact_verification import ContactSaved
from cv_contracts.faults import Fault
from cv_contracts.wire.common import is_cv_number, is_person_number
from cv_contracts.wire.contact import SavePersonContactDataRequest
from cv_contracts.wire.errors import read_body
from servicekit.data.idempotency import FirstAnswer, RequestLog
from servicekit.data.postgres import WriteTx
from servicekit.web.calls import receipt

METHOD: Final = 14
COLLECTION: Final = "PersonContactDataCollection"


class SavePersonContactData:
    """Saves, changes and removes contact data."""

    def __init__(
        self,
        store: ContactStore,
        codes: CodeStore,
        admission: Admission,
        request_log: RequestLog,
        lists: CodeLists,
    ) -> None:
        self._store = store
        self._codes = codes
        self._admission = admission
        self._request_log = request_log
        self._lists = lists

    async def __call__(self, call: Call, body: bytes) -> FirstAnswer:
        """Save and give the receipt, or raise the first fault that applies."""
        by = _number_of(call.citizen)
        request = read_body(SavePersonContactDataRequest, body)
        self._admission.organisation(call)
        admitted = await self._admission.citizen(call, by, call.citizen, unknown=1010)
        async with self._store.database.write(self._store.lock(admitted.citizen.person_id)) as tx:
            citizen = await self._admission.lock(tx, call, admitted, unknown=1010)
            if answer := await self._request_log.replay(tx, call.key(citizen), body):
                return answer
            if citizen.dead:
                raise Fault(4405)
            event = await self._save(tx, citizen, self._wanted(request), by_citizen=_by_citizen(call))
            return await self._request_log.remember(tx, call.key(citizen), body, receipt(event))

    async def _save(self, tx: WriteTx, citizen: Citizen, wanted: Wanted, *, by_citizen: bool) -> ContactSaved:
        person = citizen.person_id
        present = await self._store.contacts(tx, person)
        await self._store.refuse_removals(tx, person, present, wanted, self._lists)
        version = await self._store.next_version(tx, person)
        opened = await self._store.change(tx, person, present, wanted, version, confirms=by_citizen)
        await self._codes.send_new(tx, person, verifiable(opened, self._lists))
        return await self._store.publish(tx, ContactSaved, person, version)

    def _wanted(self, request: SavePersonContactDataRequest) -> Wanted:
        items = request.PersonContactDataCollection
        kinds = [
            kind_of(self._lists, item.PersonContactDataTypeIdentifier, f"{COLLECTION}[{i}]")
            for i, item in enumerate(items)
        ]
        return {
            kind.id: value_of(kind, item.PersonContactData, f"{COLLECTION}[{i}].PersonContactData")
            for i, (kind, item) in enumerate(zip(kinds, items, strict=True))
        }


def _number_of(citizen: str) -> Number:
    """Tell which number stands in the person number's header, which takes both."""
    if is_person_number(citizen):
        return "person_number"
    if is_cv_number(citizen):
        return "cv_number"
    raise Fault(1001)


def _by_citizen(call: Call) -> bool:
    """On Jobnet citizens look after their own data, so what is saved there again is confirmed."""
    return call.actor.organisation_type == JOBNET
