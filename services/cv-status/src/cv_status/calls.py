"""What calls have in common: for whom they are made, and what the headers say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cv_citizens.citizen import Citizen
from cv_citizens.policy import Actor
from cv_contracts.faults import Fault
from cv_contracts.wire.common import PERSON_NUMBER_HEADER, is_cv_number, is_person_number
from cv_contracts.wire.errors import bad_form
from servicekit.caller import Caller
from servicekit.data.consistency import CONSISTENCY_HEADER, ConsistencyToken, parse
from servicekit.data.idempotency import RequestKey
from servicekit.web.calls import request_id_of

CV_NUMBER_HEADER: Final = "x-cvcustomeridentifier"


@dataclass(frozen=True, slots=True)
class ReadCall:
    """One call of a read method, as far as its headers say: by whom, about whom, and what the caller has seen before."""

    method: int
    caller: Caller
    person_number: str = field(repr=False)
    cv_number: str | None = field(repr=False)
    seen: ConsistencyToken

    @property
    def actor(self) -> Actor:
        return Actor.of(self.caller)


@dataclass(frozen=True, slots=True)
class WriteCall:
    """One call of SetCvStatus, as far as its headers say; the citizen is in the body."""

    method: int
    caller: Caller
    request_id: str | None = field(repr=False)
    if_match: str | None
    seen: ConsistencyToken

    @property
    def actor(self) -> Actor:
        return Actor.of(self.caller)

    def key(self, citizen: Citizen) -> RequestKey | None:
        """Identity of the request in the log; None without a request id."""
        return RequestKey.of(self.caller, self.method, citizen.person_id, self.request_id)


def read_call(method: int, caller: Caller, headers: Mapping[str, str]) -> ReadCall:
    """Read the headers of a read method; raises fault 1014 with all that is wrong about them."""
    person_number, cv_number = headers.get(PERSON_NUMBER_HEADER, ""), headers.get(CV_NUMBER_HEADER)
    errors = []
    if not is_person_number(person_number):
        errors.append(bad_form(PERSON_NUMBER_HEADER, person_number))
    if cv_number is not None and not is_cv_number(cv_number):
        errors.append(bad_form(CV_NUMBER_HEADER, cv_number))
    if errors:
        raise Fault(1014, errors=tuple(errors))
    return ReadCall(method, caller, person_number, cv_number, parse(headers.get(CONSISTENCY_HEADER)))


def write_call(method: int, caller: Caller, headers: Mapping[str, str]) -> WriteCall:
    """Read the headers of a write method."""
    request_id = request_id_of(headers)
    seen = parse(headers.get(CONSISTENCY_HEADER))
    return WriteCall(method, caller, request_id, headers.get("if-match"), seen)
