"""What writes have in common: by whom they are made and for whom, as their headers say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cv_citizens.citizen import Citizen
from cv_citizens.policy import Actor
from cv_contracts.faults import Fault
from cv_contracts.wire.common import PERSON_NUMBER_HEADER, is_person_number
from cv_contracts.wire.errors import bad_form
from servicekit.caller import Caller
from servicekit.data.idempotency import REQUEST_ID_HEADER, RequestKey, wrong_request_id


@dataclass(frozen=True, slots=True)
class WriteCall:
    """One call of a write method, as far as its headers say: by whom, for whom, under which request id."""

    method: int
    caller: Caller
    person_number: str = field(repr=False)
    request_id: str | None = field(repr=False)

    @property
    def actor(self) -> Actor:
        return Actor.of(self.caller)

    @property
    def lock(self) -> str:
        """Key under which calls with the same request id wait for each other."""
        active = self.caller.active
        parts = (self.caller.client, active.type, active.code, self.method, self.person_number)
        return " ".join(map(str, ("request", *parts, self.request_id)))

    def key(self, citizen: Citizen) -> RequestKey | None:
        """Identity of the request in the log; None without a request id."""
        return RequestKey.of(self.caller, self.method, citizen.person_id, self.request_id)


def write_call(method: int, caller: Caller, headers: Mapping[str, str]) -> WriteCall:
    """Read the headers of a write method; raises fault 1014 naming those that cannot be read."""
    person_number, request_id = headers.get(PERSON_NUMBER_HEADER), headers.get(REQUEST_ID_HEADER.lower())
    number = person_number or ""
    errors = [] if is_person_number(number) else [bad_form(PERSON_NUMBER_HEADER, person_number)]
    if wrong := wrong_request_id(request_id):
        errors.append(wrong)
    if errors:
        raise Fault(1014, errors=tuple(errors))
    return WriteCall(method, caller, number, request_id)
