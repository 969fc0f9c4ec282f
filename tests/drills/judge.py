"""Judges a system after a drill: every acknowledged write is there once and in order, and all who follow agree with the owners."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import httpx
from tests.drills.contacts import CONTACTS, replaced, saved, with_contact_data
from tests.drills.findings import CitizenRow, of_citizens, of_contact_data, of_feed, of_reads
from tests.drills.pressure import Pressure
from tests.e2e.caller import Caller
from tests.e2e.contacts import shown
from tests.e2e.history import Acknowledged, History, LogRecord, Revision
from tests.e2e.load import citizens_of, history_of, log_records, published
from tests.e2e.movers import Movers
from tests.e2e.streams import CVS, STATUSES, Stream
from tests.e2e.system import System

from cv_contracts.events.cv_registry import CitizenChanged
from cvhub.services import SERVICES
from cvhub.synthetic import SyntheticCitizen
from servicekit.testing import eventually
from servicekit.web.tls import trusting

FEED = "change-feed"
AGREE_WITHIN = timedelta(seconds=240)
SETTLED_WITHIN = timedelta(seconds=90)
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
    moves: Counter[UUID] = field(default_factory=Counter)
    found: set[str] = field(default_factory=set)

    async def judge(self, pressure: Pressure) -> list[str]:
        """Give what is wrong now and was not before; everything must have settled."""
        violations: list[str] = []
        for stream, load in ((CVS, pressure.writers), (STATUSES, pressure.setters)):
            promised = self._promised(stream, load.acknowledged)
            violations += await self._story(await history_of(self.system, promised, stream=stream))
        violations += await self._contacts(pressure)
        violations += await self._citizens(pressure.movers)
        violations += of_reads(pressure.readers.answered, await pressure.readers.rows())
        new = [one for one in violations if one not in self.found]
        self.found.update(new)
        return new

    def _promised(self, stream: Stream, acknowledged: Sequence[Acknowledged]) -> list[Acknowledged]:
        promised = self.promised.setdefault(stream.owner, [])
        promised += acknowledged
        return promised

    async def _story(self, history: History) -> list[str]:
        return [*history.violations(), *of_feed(history.records, await self._entries(history.records))]

    async def _entries(self, told: Sequence[LogRecord]) -> list[LogRecord]:
        """Read the feed's entries of these records, with their positions in the place of offsets."""
        rows = await self.system.rows(
            "select position, event_id, subject, version from entries where event_id = any($1)",
            list({record.event_id for record in told}),
            service=FEED,
        )
        return [LogRecord(0, *row) for row in rows]

    async def _contacts(self, pressure: Pressure) -> list[str]:
        """Judge what was saved as a story, whose owner keeps no row per write, and what is there in the end."""
        promised = self._promised(CONTACTS, pressure.savers.acknowledged)
        persons = await citizens_of(self.system, CONTACTS)
        records = await log_records(self.system, CONTACTS.event)
        told = [record for record in records if record.key in persons.values()]
        history = History(promised, [Revision(one.key, one.version) for one in told], told)
        cvs = await citizens_of(self.system, CVS)
        of_cv = {cvs[number]: person for number, person in persons.items()}
        writes = [*replaced(self.promised[CVS.owner], of_cv), *saved(promised)]
        async with _client() as http:
            owned = await _Operator(self.system, http).contact_data(list(persons.values()))
            caller = replace(pressure.readers.caller, http=http)
            seen = {persons[one.person_number]: await _shown(caller, one) for one in with_contact_data()}
        return [*await self._story(history), *of_contact_data(writes, owned, seen)]

    async def _citizens(self, movers: Movers) -> list[str]:
        self.moves += movers.changes
        rows = await self.system.rows(
            "select person_id, version, source_version from citizens where person_number = any($1)",
            [one.person_number for one in movers.people],
        )
        records = await log_records(self.system, CitizenChanged)
        told = [record for record in records if record.key in self.moves]
        citizens = [CitizenRow(*row) for row in rows]
        wrong = of_citizens(len(movers.people), citizens, movers.applied, self.moves, told)
        return [*wrong, *of_feed(told, await self._entries(told))]


def counted(violations: Sequence[str]) -> Counter[str]:
    """Count them by column of the table."""
    return Counter(_COLUMN[one.partition(":")[0]] for one in violations)


async def all_agree(system: System) -> None:
    """Wait until everything is published and every projection, and the feed, is what the owners have."""
    await published(system, CVS.owner, STATUSES.owner, CONTACTS.owner)
    async with _client() as http:
        operator = _Operator(system, http)
        for service in SERVICES:
            if service.migrations:
                await operator.follows_well(service.name)
        await eventually(operator.feed_is_as_the_owners_have_it, AGREE_WITHIN, LOOK)


async def no_change_is_left_open(system: System) -> None:
    """Wait until every prepared change of contact data has come to its end; those whose end nobody told are asked for at once."""
    await system.rows("update prepares set next_ask = now()", service=CONTACTS.owner)

    async def none_is_left() -> None:
        left = await system.value("select count(*) from prepares", service=CONTACTS.owner)
        assert left == 0, f"{left} prepared changes are left"

    await eventually(none_is_left, SETTLED_WITHIN, LOOK)


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=60, trust_env=False, verify=trusting())


async def _shown(caller: Caller, one: SyntheticCitizen) -> list[str]:
    information = await shown(caller, one)
    mail = information.get("E-mail")
    return [*([] if mail is None else [mail]), *information.get("PhoneNumber", ())]


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

    async def contact_data(self, persons: Sequence[UUID]) -> dict[UUID, dict[int, str]]:
        """Give the present values by type, as their owner tells them."""
        token = self.system.signer("cv-registry").token(CONTACTS.owner, None)
        answer = await self.http.post(
            f"{self.system.url(CONTACTS.owner)}/internal/contacts/states",
            json={"subjects": [str(person) for person in persons]},
            headers={"authorization": f"Bearer {token}"},
        )
        known = [one for one in answer.raise_for_status().json()["states"] if "state" in one]
        return {
            UUID(one["subject"]): {c["type"]: c["value"] for c in one["state"]["contacts"] if "value" in c}
            for one in known
        }

    async def feed_is_as_the_owners_have_it(self) -> None:
        result = await self.ask(FEED, "POST", "feed/verify-owners")
        assert result["differences"] == [], result["differences"][:3]
