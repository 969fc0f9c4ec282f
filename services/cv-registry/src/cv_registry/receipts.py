"""How a write is answered: with a ServiceReceipt, or with the first answer to a repeated request id."""

from cv_citizens.citizen import Citizen
from cv_contracts.event import Event
from cv_registry.calls import WriteCall
from servicekit.data.idempotency import FirstAnswer, RequestLog
from servicekit.data.postgres import WriteTx
from servicekit.web.calls import receipt
from servicekit.web.etags import etag


class Receipts:
    """Answers writes: the first time with a receipt of the event, again with the first answer."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log

    async def replay(self, tx: WriteTx, call: WriteCall, citizen: Citizen, body: bytes) -> FirstAnswer | None:
        """Give the first answer of this request id, if there was one; Precondition (412) for another body."""
        return await self._log.replay(tx, call.key(citizen), body)

    async def give(
        self, tx: WriteTx, call: WriteCall, citizen: Citizen, body: bytes, event: Event
    ) -> FirstAnswer:
        """Give the receipt of the event, and remember it under the request id in the same transaction."""
        return await self._log.remember(tx, call.key(citizen), body, receipt(event, etag=etag(event.version)))
