"""Judges a system after a drill: every acknowledged write is there once and in order, and all who follow agree with the owners."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
from tests.drills.pressure import Pressure
from tests.e2e.history import Acknowledged, LogRecord, disordered
from tests.e2e.load import history_of, log_records, published
from tests.e2e.movers import Movers
from tests.e2e.streams import CVS, STATUSES, Stream
from tests.e2e.system import System

from cv_contracts.events.cv_registry import CitizenChanged
from cvhub.services import SERVICES
from servicekit.testing import eventually
from servicekit.web.tls import trusting

FEED = "change-feed"
AGREE_WITHIN = timedelta(seconds=240)
LOOK = timedelta(milliseconds=300)
_COLUMN = {
    "lost": "lost",
    "changed": "lost",
    "unpublished": "lost",
    "doubled": "doubled",
    "invented": "doubled",
    "disordered": "reordered",
    "scattered": "reordered",
    "unseen": "access rows missing",
}


@dataclass
class Judge:
    """Knows all that was promised since the system started; what it has found once it does not find again."""

    system: System
    promised: dict[str, list[Acknowledged]] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)

    async def judge(self, pressure: Pressure) -> list[str]:
        """Give what is wrong now and was not before; everything must have settled."""
        violations: list[str] = []
        for stream, load in ((CVS, pressure.writers), (STATUSES, pressure.setters)):
            violations += await self._story(stream, load.acknowledged)
        violations += await self._citizens(pressure.movers)
        answered, rows = pressure.readers.answered, await pressure.readers.rows()
        violations += [f"unseen: {answered} reads were answered and {rows} left a row"] * (rows < answered)
        new = [one for one in violations if one not in self.found]
        self.found.update(new)
        return new

    async def _story(self, stream: Stream, acknowledged: Sequence[Acknowledged]) -> list[str]:
        promised = self.promised.setdefault(stream.owner, [])
        promised += acknowledged
        history = await history_of(self.system, promised, stream=stream)
        return [*history.violations(), *await self._not_in_the_feed(history.records)]

    async def _not_in_the_feed(self, records: Sequence[LogRecord]) -> list[str]:
        told = {record.event_id for record in records}
        rows = await self.system.rows(
            "select event_id, count(*) as times from entries where event_id = any($1) group by 1",
            list(told),
            service=FEED,
        )
        missing = told - {row["event_id"] for row in rows}
        twice = [row["event_id"] for row in rows if row["times"] > 1]
        return [f"lost: {one} is not in the feed" for one in missing] + [
            f"doubled: {one} is in the feed several times" for one in twice
        ]

    async def _citizens(self, movers: Movers) -> list[str]:
        rows = await self.system.rows(
            "select person_id, source_version from citizens where person_number = any($1)",
            [one.person_number for one in movers.people],
        )
        lost = [
            f"lost: {row['person_id']} is at {row['source_version']}, {movers.applied} was acknowledged"
            for row in rows
            if row["source_version"] < movers.applied
        ]
        persons = {row["person_id"] for row in rows}
        told = await log_records(self.system, CitizenChanged)
        return [*lost, *disordered(one for one in told if one.key in persons)]


def counted(violations: Sequence[str]) -> Counter[str]:
    """Count them by column of the table."""
    return Counter(_COLUMN[one.partition(":")[0]] for one in violations)


async def all_agree(system: System) -> None:
    """Wait until everything is published and every projection, and the feed, is what the owners have."""
    await published(system, *{CVS.owner, STATUSES.owner, "contact-verification"})
    async with httpx.AsyncClient(timeout=60, trust_env=False, verify=trusting()) as http:
        operator = _Operator(system, http)
        for service in SERVICES:
            if service.migrations:
                await operator.follows_well(service.name)
        await eventually(operator.feed_is_as_the_owners_have_it, AGREE_WITHIN, LOOK)


@dataclass(frozen=True)
class _Operator:
    """Asks services what an operator asks."""

    system: System
    http: httpx.AsyncClient

    async def ask(self, service: str, verb: str, what: str) -> Any:
        token = self.system.signer("operator").token(service, None)
        answer = await self.http.request(
            verb,
            f"{self.system.url(service)}/internal/operations/{what}",
            headers={"authorization": f"Bearer {token}"},
        )
        assert answer.status_code in (200, 404), f"{service} {what}: {answer.status_code} {answer.text}"
        return answer.json() if answer.is_success else None

    async def follows_well(self, service: str) -> None:
        """Wait until each of its projections is as its owner has it; one that keeps no states has nothing to compare."""
        for row in (await self.ask(service, "GET", "projections"))["projections"]:
            await eventually(partial(self._same, service, row["name"]), AGREE_WITHIN, LOOK)

    async def _same(self, service: str, projection: str) -> None:
        result = await self.ask(service, "POST", f"projections/{projection}/verify")
        assert result is None or result["total"] == 0, f"{service} {projection}: {result['differences'][:3]}"

    async def feed_is_as_the_owners_have_it(self) -> None:
        result = await self.ask(FEED, "POST", "feed/verify-owners")
        assert result["differences"] == [], result["differences"][:3]
