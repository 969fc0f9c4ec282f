"""Connections that uvloop closed under aiokafka: writing to one is a RuntimeError, which ends aiokafka's fetching for ever, in silence."""

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

__all__ = ["survive_closed_connections"]

_send = AIOKafkaConnection.send


def survive_closed_connections() -> None:
    """Let every client of this process take it for the lost connection that it is, and connect anew."""
    AIOKafkaConnection.send = _send_or_lose


def _send_or_lose(self: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        return _send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {self.host}:{self.port} is closed") from error
