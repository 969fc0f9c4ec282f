"""How long somebody whom the registry does not know is waited for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from change_feed import citizens
from change_feed.citizens import Citizens, Owner, SubjectUnknown
from change_feed.placing import Gone
from change_feed.testing import event
from cv_contracts.events.cv_registry import CitizenChanged
from servicekit.follow.states import Erased, SubjectState, Unknown

BEGUN = datetime(2026, 11, 22, 12, tzinfo=UTC)


class NoReplica:
    async def fetch(self, *_: Any) -> list[Any]:
        return []


class Registry:
    def __init__(self, *unknown: UUID) -> None:
        self.unknown = set(unknown)

    async def states(self, subjects: Sequence[UUID]) -> list[SubjectState]:
        return [Unknown(one) if one in self.unknown else Erased(one, 1) for one in subjects]


class Asking:
    """Asks for the citizens of events, by clocks of its own."""

    def __init__(self, *unknown: UUID) -> None:
        replica: Any = NoReplica()
        registry: Any = Registry(*unknown)
        self.registry = registry
        self.now = 0.0
        self._citizens = Citizens(
            replica,
            Owner(registry, registry),
            timedelta(seconds=30),
            lambda: BEGUN + timedelta(seconds=self.now),
            lambda: self.now,
        )

    async def found(self, subject: UUID, made: float | None = None) -> Any:
        """Ask for the subject of an event made at that second, or just now."""
        time = BEGUN + timedelta(seconds=self.now if made is None else made)
        one = event(CitizenChanged, subject, 1, change="changed", time=time)
        return (await self._citizens.of([one]))[subject]


async def test_who_is_unknown_is_waited_for_once_whoever_is_asked_for_meanwhile() -> None:
    unknown, other = uuid4(), uuid4()
    asking = Asking(unknown)
    with pytest.raises(SubjectUnknown):
        await asking.found(unknown)
    asking.now = 20
    assert isinstance(await asking.found(other), Gone)
    asking.now = 29
    with pytest.raises(SubjectUnknown):
        await asking.found(unknown)
    for asking.now in (30, 31, 3_000):
        assert await asking.found(unknown) is None


async def test_who_was_known_meanwhile_is_waited_for_anew() -> None:
    unknown = uuid4()
    asking = Asking(unknown)
    with pytest.raises(SubjectUnknown):
        await asking.found(unknown)
    asking.now = 30
    assert await asking.found(unknown) is None
    asking.registry.unknown = set()
    assert isinstance(await asking.found(unknown), Gone)
    asking.registry.unknown = {unknown}
    with pytest.raises(SubjectUnknown):
        await asking.found(unknown)


async def test_an_event_that_is_older_than_that_is_not_waited_with_for_the_registry_had_its_time() -> None:
    old, late, ahead = uuid4(), uuid4(), uuid4()
    asking = Asking(old, late, ahead)
    assert await asking.found(old, made=-30) is None
    with pytest.raises(SubjectUnknown):
        await asking.found(late, made=-20)
    with pytest.raises(SubjectUnknown):
        await asking.found(ahead, made=3_600)
    asking.now = 10
    assert await asking.found(late, made=-20) is None
    asking.now = 30
    assert await asking.found(ahead, made=3_600) is None, "by another clock than ours"


async def test_of_too_many_who_are_unknown_the_first_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(citizens, "UNKNOWN_AT_MOST", 2)
    many = [uuid4() for _ in range(3)]
    asking = Asking(*many)
    for one in many:
        assert await asking.found(one, made=-30) is None
    for one in many[1:]:
        assert await asking.found(one) is None
    with pytest.raises(SubjectUnknown):
        await asking.found(many[0])
