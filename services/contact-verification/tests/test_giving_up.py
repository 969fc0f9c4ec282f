"""Reminders that must wait: for whom, how long, and when one is given up."""

from dataclasses import replace
from datetime import timedelta
from typing import cast
from uuid import UUID, uuid4

import pytest

from contact_verification.circuit import Circuit
from contact_verification.keys import BlindIndex, Codes, Keys, Vault
from contact_verification.messages import Outgoing, Passing, PutOff
from contact_verification.sending import Channel, Sender
from contact_verification.settings import CodeSettings, SendingSettings
from contact_verification.statuses import ContactStatuses
from contact_verification.store_messages import Claimed, MessageStore
from contact_verification.testing import EMAIL

KEYS = Keys(Vault.from_text("k1:a data key of sixteen bytes"), BlindIndex("a blind key"), Codes("a code key"))
OTHER_KEYS = replace(KEYS, vault=Vault.from_text("k2:another key of sixteen bytes"))


class Queue(MessageStore):
    """Holds messages, which are due again however long they are to wait, and keeps what becomes of them."""

    def __init__(self, *messages: Claimed) -> None:
        self.messages = {message.id: message for message in messages}
        self.waits = list[timedelta]()
        self.became = dict[UUID, str]()

    async def claim(self, contact_types: list[int], most: int, lease: timedelta) -> list[Claimed]:
        claimed = [
            replace(one, attempts=one.attempts + 1)
            for one in self.messages.values()
            if one.id not in self.became
        ]
        self.messages.update((one.id, one) for one in claimed)
        return claimed

    async def later(self, message: UUID, wait: timedelta, reason: str, *, put_off: bool) -> None:
        self.waits.append(wait)
        waits = self.messages[message]
        self.messages[message] = replace(waits, times_put_off=waits.times_put_off + put_off)

    async def done(self, message: UUID, status: str, reason: str | None = None) -> None:
        self.became[message] = status


class Answering:
    """A provider that answers what a test wants."""

    name = "mail"

    def __init__(self) -> None:
        self.answer: Exception | None = None

    async def send(self, message: Outgoing) -> None:
        if self.answer is not None:
            raise self.answer


def a_reminder(attempts: int, times_put_off: int) -> Claimed:
    period = uuid4()
    sealed = KEYS.vault.seal("someone@example.com", period)
    return Claimed(
        id=uuid4(),
        person=uuid4(),
        period=period,
        type=EMAIL,
        kind="reminder",
        salt=None,
        attempts=attempts,
        times_put_off=times_put_off,
        key_id=sealed.key_id,
        box=sealed.box,
        wanted=True,
    )


class Waiting:
    """A sender with reminders, tried as often as a test wants; the time between the tries is only told."""

    def __init__(
        self, *, reminders: int = 1, keys: Keys = KEYS, attempts: int = 0, times_put_off: int = 0
    ) -> None:
        self.queue = Queue(*(a_reminder(attempts, times_put_off) for _ in range(reminders)))
        self.provider, self.settings = Answering(), SendingSettings()
        self.channel = Channel(self.provider, [EMAIL], mail=True, circuit=Circuit(5, timedelta(0)))
        self.sender = Sender(
            messages=self.queue,
            keys=keys,
            statuses=cast("ContactStatuses", None),  # nobody here becomes undeliverable
            channels=[self.channel],
            settings=self.settings,
            codes=CodeSettings(),
        )

    async def tries(self, most: int) -> None:
        for _ in range(most):
            await self.sender.round(self.channel)

    @property
    def became(self) -> list[str]:
        return list(self.queue.became.values())


@pytest.fixture
def evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _least, _most: 1.0)


@pytest.mark.usefixtures("evenly")
async def test_a_reminder_that_its_recipient_cannot_take_is_tried_for_six_days() -> None:
    waiting = Waiting()
    waiting.provider.answer = PutOff("recipient 452")
    await waiting.tries(100)
    assert waiting.became == ["refused"]
    [reminder] = waiting.queue.messages.values()
    assert reminder.attempts == waiting.settings.reminder_attempts
    assert timedelta(days=6) < sum(waiting.queue.waits, timedelta(0)) < timedelta(days=6.1)


@pytest.mark.usefixtures("evenly")
@pytest.mark.parametrize("keys", [KEYS, OTHER_KEYS])
async def test_a_provider_or_a_key_that_is_away_for_long_costs_no_reminder(keys: Keys) -> None:
    waiting = Waiting(keys=keys)
    waiting.provider.answer = Passing("away")
    await waiting.tries(1000)
    assert waiting.became == []
    assert max(waiting.queue.waits) == waiting.settings.longest_back_off


@pytest.mark.usefixtures("evenly")
async def test_a_provider_that_puts_off_everybody_costs_no_reminder() -> None:
    waiting = Waiting(reminders=5)
    waiting.provider.answer = PutOff("recipient 451")
    await waiting.tries(100)
    assert waiting.channel.circuit.away
    assert waiting.became == []
    assert max(waiting.queue.waits) == waiting.settings.longest_back_off


async def test_mailboxes_that_have_been_full_for_long_say_nothing_about_the_provider() -> None:
    waiting = Waiting(reminders=5, times_put_off=3)
    waiting.provider.answer = PutOff("recipient 452")
    await waiting.tries(2)
    assert not waiting.channel.circuit.away
    assert {one.times_put_off for one in waiting.queue.messages.values()} == {5}


async def test_what_waited_for_a_provider_has_all_its_tries_left_when_the_recipient_cannot_take_it() -> None:
    """As have the rows of before this was counted, with all their tries in `attempts`."""
    waiting = Waiting(attempts=40)
    waiting.provider.answer = PutOff("recipient 452")
    await waiting.tries(waiting.settings.reminder_attempts - 1)
    assert waiting.became == []
    waiting.provider.answer = None
    await waiting.tries(1)
    assert waiting.became == ["sent"]
