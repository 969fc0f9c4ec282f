"""What calls have in common: for whom they are made, and what the headers say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cv_citizens.citizen import Citizen
from cv_citizens.policy import Actor
from cv_contracts.wire.common import PERSON_NUMBER_HEADER
from servicekit.caller import Caller
from servicekit.data.consistency import CONSISTENCY_HEADER, ConsistencyToken, parse
from servicekit.data.idempotency import RequestKey
from servicekit.web.calls import request_id_of


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method, as far as its headers say: by whom, about whom, what the caller has seen before."""

    method: int
    caller: Caller
    seen: ConsistencyToken
    citizen: str = field(default="", repr=False)
    """What stands in the person number's header, unchecked; methods that take a CV number too find it there."""
    request_id: str | None = field(default=None, repr=False)

    @property
    def actor(self) -> Actor:
        return Actor.of(self.caller)

    def key(self, citizen: Citizen) -> RequestKey | None:
        """Identity of the request in the log; None without a request id."""
        return RequestKey.of(self.caller, self.method, citizen.person_id, self.request_id)


def read_call(method: int, caller: Caller, headers: Mapping[str, str]) -> Call:
    """Read the headers that all methods have."""
    request_id = request_id_of(headers)
    seen = parse(headers.get(CONSISTENCY_HEADER))
    return Call(method, caller, seen, headers.get(PERSON_NUMBER_HEADER, ""), request_id)
