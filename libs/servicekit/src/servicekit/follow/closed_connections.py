"""Connections that aiokafka does not take for closed, or does not close.

Writing to one that uvloop closed is a RuntimeError, which ends aiokafka's fetching for ever, in silence. The first one of a client
stays open if whoever starts the client is cancelled while it asks there for the brokers.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

__all__ = ["survive_closed_connections"]

_send = AIOKafkaConnection.send


def survive_closed_connections() -> None:
    """Let every client of this process take such a connection for the lost one that it is, and connect anew."""
    AIOKafkaConnection.send = _send_or_lose


def _send_or_lose(self: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        answer = _send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {self.host}:{self.port} is closed") from error
    # Its client hears of the end of any connection but the first one.
    return answer if self._on_close_cb is not None else _answer_or_close(self, answer)


async def _answer_or_close(connection: Any, answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except asyncio.CancelledError:
        connection.close()
        raise
