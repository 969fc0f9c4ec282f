"""What the sinks were given: in memory, the newest first, each message once however often it was sent."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

Channel = Literal["mail", "sms"]

MOST: Final = 1_000
"""Older messages leave."""

Trouble = Callable[[str], Awaitable[int | None]]
"""Asked before a message to an address is taken; the answer to give in its place, or None to take it. For tests."""


@dataclass
class Message:
    """A message as it came. `times` counts how often it was sent: a repeated one is not delivered again."""

    channel: Channel
    id: str
    to: str
    subject: str
    text: str
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    times: int = 1


class Kept:
    """All messages of both sinks."""

    def __init__(self) -> None:
        self._messages: dict[tuple[Channel, str], Message] = {}
        self.on_add: Callable[[Message], None] | None = None
        """Told of each message once it is kept, before its sender is. For tests."""

    def add(self, message: Message) -> None:
        """Keep a message; one with an id that came before is a repeat, and dropped."""
        known = self._messages.setdefault((message.channel, message.id), message)
        if known is not message:
            known.times += 1
        if len(self._messages) > MOST:
            del self._messages[next(iter(self._messages))]
        if self.on_add is not None:
            self.on_add(known)

    def of(self, channel: Channel | None = None, to: str | None = None) -> list[Message]:
        """Give the messages of a channel, or to an address, the newest first."""
        return [
            message
            for message in reversed(self._messages.values())
            if channel in (None, message.channel) and to in (None, message.to)
        ]

    def to_json(self, channel: Channel | None = None) -> list[dict[str, Any]]:
        return [asdict(message) for message in self.of(channel)]
