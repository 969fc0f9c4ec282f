"""What every write has in common: who calls, the replay of a repeated request id, and the ServiceReceipt."""

from dataclasses import dataclass, field

from cv_citizens.citizen import Citizen
from cv_citizens.policy import Actor
from cv_contracts.event import Event
from servicekit.data.idempotency import Answer, RequestKey, RequestLog
from servicekit.data.postgres import WriteTx
from servicekit.web.calls import receipt
from servicekit.web.etags import etag
from servicekit.web.identity import Caller


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


class Receipts:
    """Answers writes: the first time with a receipt of the event, again with the first answer."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log

    async def replay(self, tx: WriteTx, call: WriteCall, citizen: Citizen, body: bytes) -> Answer | None:
        """Give the first answer of this request id, if there was one; Precondition (412) for another body."""
        return await self._log.replay(tx, call.key(citizen), body)

    async def give(self, tx: WriteTx, call: WriteCall, citizen: Citizen, body: bytes, event: Event) -> Answer:
        """Give the receipt of the event, and remember it under the request id in the same transaction."""
        return await self._log.remember(tx, call.key(citizen), body, receipt(event, etag=etag(event.version)))
