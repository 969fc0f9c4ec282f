"""How long somebody whom the registry does not know is waited for."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from change_feed.citizens import Citizens, Owner, SubjectUnknown
from change_feed.placing import Gone
from change_feed.testing import event
from cv_contracts.events.cv_registry import CitizenChanged
from servicekit.follow.states import Erased, SubjectState, Unknown


class NoReplica:
    async def fetch(self, *_: Any) -> list[Any]:
        return []


class Registry:
    def __init__(self, unknown: UUID) -> None:
        self._unknown = unknown

    async def states(self, subjects: Sequence[UUID]) -> list[SubjectState]:
        return [Unknown(one) if one == self._unknown else Erased(one, 1) for one in subjects]


async def test_who_is_unknown_is_waited_for_once_whoever_is_asked_for_meanwhile() -> None:
    now, unknown, other = [0.0], uuid4(), uuid4()
    registry: Any = Registry(unknown)
    replica: Any = NoReplica()
    citizens = Citizens(replica, Owner(registry, registry), timedelta(seconds=30), lambda: now[0])

    async def found(subject: UUID) -> Any:
        return (await citizens.of([event(CitizenChanged, subject, 1, change="changed")]))[subject]

    with pytest.raises(SubjectUnknown):
        await found(unknown)
    now[0] = 20
    assert isinstance(await found(other), Gone)
    now[0] = 29
    with pytest.raises(SubjectUnknown):
        await found(unknown)
    now[0] = 30
    assert await found(unknown) is None
