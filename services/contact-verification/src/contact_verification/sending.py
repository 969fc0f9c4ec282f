"""The sender: takes messages that are due, hands them to their provider, and marks them. At least once, never too late."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog
from cryptography.exceptions import InvalidTag

from contact_verification.circuit import Circuit
from contact_verification.keys import Keys, Sealed, UnknownKey
from contact_verification.messages import Outgoing, Passing, Provider, PutOff, Refused, mail_text, sms_text
from contact_verification.settings import CodeSettings, SendingSettings
from contact_verification.statuses import ContactStatuses
from contact_verification.store_messages import Claimed, MessageStore
from servicekit.data.postgres import passing_trouble
from servicekit.pace import set_within

log = structlog.get_logger(__name__)

LONGEST_PAUSE: Final = 1.0
"""Seconds after which another instance's messages are looked for."""
SHORTEST_PAUSE: Final = 0.02


@dataclass(slots=True)
class Channel:
    """A provider, what goes through it, and whether it is well."""

    provider: Provider
    contact_types: Sequence[int]
    mail: bool
    circuit: Circuit
    sent: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Sender:
    """Sends until cancelled. Any number of senders may run, on any number of machines."""

    def __init__(
        self,
        *,
        messages: MessageStore,
        keys: Keys,
        statuses: ContactStatuses,
        channels: Sequence[Channel],
        settings: SendingSettings,
        codes: CodeSettings,
    ) -> None:
        self._messages = messages
        self._keys = keys
        self._statuses = statuses
        self._channels = channels
        self._settings = settings
        self._codes = codes

    def wake(self) -> None:
        """Tell that there is something to send."""
        for channel in self._channels:
            channel.woken.set()

    async def run(self) -> None:
        """Send what is due, again and again; each provider by itself, so that a slow one holds up nobody else."""
        async with asyncio.TaskGroup() as tasks:
            for channel in self._channels:
                tasks.create_task(self._serve(channel), name=f"send {channel.provider.name}")

    async def round(self, channel: Channel) -> int:
        """Send once what is due through one provider; gives how many messages were taken."""
        room = channel.circuit.room(self._settings.at_once)
        if room == 0:
            return 0
        claimed = await self._messages.claim(list(channel.contact_types), room, self._settings.lease)
        await asyncio.gather(*(self._deliver(channel, message) for message in claimed))
        return len(claimed)

    def health(self) -> Mapping[str, Any]:
        """Say how the providers do."""
        return {
            channel.provider.name: {"open": channel.circuit.open, "sent": channel.sent}
            for channel in self._channels
        }

    def away(self) -> list[str]:
        """Name the providers that count as away."""
        return [channel.provider.name for channel in self._channels if channel.circuit.away]

    async def _serve(self, channel: Channel) -> None:
        while True:
            channel.woken.clear()
            try:
                taken = await self.round(channel)
            except Exception as error:
                if passing_trouble(error) is None:
                    raise
                log.warning("sending_waits", channel=channel.provider.name, error_type=type(error).__name__)
                taken = 0
            await set_within(channel.woken, SHORTEST_PAUSE if taken else LONGEST_PAUSE)

    async def _deliver(self, channel: Channel, message: Claimed) -> None:
        if not message.wanted:
            await self._messages.void(message.id)
            return
        try:
            outgoing = self._outgoing(channel, message)
        except (InvalidTag, UnknownKey) as error:
            await self._later(channel, message, error)
            return
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                await channel.provider.send(outgoing)
        except Refused as refusal:
            await self._refused(channel, message, refusal)
        except PutOff as error:
            if message.times_put_off == 0:
                channel.circuit.put_off(message.period)
            else:
                channel.circuit.answered()
            await self._later(channel, message, error)
        except (Passing, TimeoutError) as error:
            channel.circuit.failed()
            await self._later(channel, message, error)
        else:
            channel.circuit.worked()
            channel.sent += 1
            await self._messages.done(message.id, "sent")

    async def _refused(self, channel: Channel, message: Claimed, refusal: Refused) -> None:
        """Give up a message; the provider itself is there."""
        channel.circuit.answered()
        log.warning("message_refused", channel=channel.provider.name, reason=refusal.reason)
        if refusal.unreachable:
            await self._statuses.undeliverable_period(message.person, message.type, message.period)
        await self._messages.done(message.id, "refused", refusal.reason)

    async def _later(self, channel: Channel, message: Claimed, error: Exception) -> None:
        """Wait with a message; a reminder, which lives for months, is given up once its recipient could not take it for long."""
        reason = str(error) or type(error).__name__
        name, attempts = channel.provider.name, message.attempts
        put_off = isinstance(error, PutOff) and not channel.circuit.away
        tries = message.times_put_off + 1
        if put_off and message.kind == "reminder" and tries >= self._settings.reminder_attempts:
            log.warning("reminder_given_up", channel=name, reason=reason, attempts=attempts)
            await self._messages.done(message.id, "refused", reason)
            return
        log.warning("message_waits", channel=name, reason=reason, attempts=attempts)
        wait = self._back_off(message, put_off=put_off)
        await self._messages.later(message.id, wait, reason, put_off=put_off)

    def _back_off(self, message: Claimed, *, put_off: bool) -> timedelta:
        """Tell how long a message waits. Only a reminder's recipient has days: a provider may be back any minute."""
        settings = self._settings
        before = message.times_put_off if put_off else message.attempts - 1
        wait: timedelta = settings.first_back_off * 2.0 ** min(before, 20)
        if not put_off or message.kind == "code":
            wait = min(wait, settings.longest_back_off)
        return wait * random.uniform(0.8, 1.2)  # noqa: S311 - only spreads the tries

    def _outgoing(self, channel: Channel, message: Claimed) -> Outgoing:
        to = self._keys.vault.open(Sealed(message.key_id, message.box), message.period)
        code = "" if message.salt is None else self._keys.codes.code(message.salt, message.period)
        lifetime = self._codes.lifetime
        if channel.mail:
            subject, text = mail_text(message.kind, code=code, lifetime=lifetime)
            return Outgoing(message.id, to, subject, text)
        return Outgoing(message.id, to, "", sms_text(message.kind, to, code=code, lifetime=lifetime))
