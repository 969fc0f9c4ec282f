"""GetPersonByMobilePhoneNumber and GetPersonByEmailAddress: who has or had a value, as far as the caller may know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import orjson

from contact_verification.admission import Admission
from contact_verification.calls import Call
from contact_verification.keys import BlindIndex
from contact_verification.values import Value, find_mail, find_mobile
from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.policy import decide
from cv_citizens.replica import NAME, TOPIC
from cv_citizens.replica_source import Registry, needed_answer
from cv_contracts.codelists import CodeLists
from cv_contracts.faults import Fault, FieldError, Unavailable
from cv_contracts.wire.contact import GetPersonByEmailAddressRequest, GetPersonByMobilePhoneNumberRequest
from cv_contracts.wire.errors import read_body
from servicekit.data.access_log import AccessLog, AccessRow
from servicekit.data.consistency import Applied
from servicekit.data.postgres import Database
from servicekit.follow.freshness import all_fresh_sql, fresh_sql
from servicekit.follow.states import Erased, Known, SubjectState

BY_MOBILE: Final = 17
BY_MAIL: Final = 18
NAMES: Final = {BY_MOBILE: "GetPersonByMobilePhoneNumber", BY_MAIL: "GetPersonByEmailAddress"}
ASKED_AT_ONCE: Final = 500

_FRESH: Final = fresh_sql(NAME, TOPIC, subject="c.person_id", partition="c.partition")
_BY_BLIND: Final = f"""
select r.all_fresh, f.* from (select {all_fresh_sql(NAME, TOPIC)} as all_fresh) r left join (
    select p.id, p.person_id, p.starts, p.ends, c.person_number, c.version, c.state, coalesce({_FRESH}, false) as fresh
    from periods p
    left join projection_generations g on g.projection = '{NAME}' and g.status = 'live'
    left join citizens c on c.generation = g.generation and c.person_id = p.person_id
    where p.blind = any($1)
) f on true order by f.starts, f.id
"""
"""At least one row, with no person where nobody is found."""


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A citizen and the person number that answers name."""

    citizen: Citizen
    number: str = field(repr=False)


class LookingUp:
    """Finds persons by a value. The answer to nobody takes the same way as the answer to somebody."""

    def __init__(
        self,
        *,
        database: Database,
        admission: Admission,
        registry: Registry,
        applied: Applied,
        access_log: AccessLog,
        blind: BlindIndex,
        lists: CodeLists,
        clock: Clock,
    ) -> None:
        self._database = database
        self._admission = admission
        self._registry = registry
        self._applied = applied
        self._access_log = access_log
        self._blind = blind
        self._mobile = lists.contact_type_id("MOBILE")
        self._mail = lists.contact_type_id("EMAIL")
        self._clock = clock

    async def by_mobile(self, call: Call, body: bytes) -> bytes:
        """Answer method 17."""
        request = read_body(GetPersonByMobilePhoneNumberRequest, body)
        if not request.mobiltelefon.lstrip().startswith("+"):
            raise Fault(1014, errors=(FieldError("mobiltelefon", "needs its prefix, beginning with +"),))
        value = find_mobile(request.mobiltelefon)
        if value is None:
            raise Fault(1014, errors=(FieldError("mobiltelefon", "is not a phone number"),))
        return await self._found(call, self._mobile, value)

    async def by_mail(self, call: Call, body: bytes) -> bytes:
        """Answer method 18. What nobody can have as an address is looked for all the same, and not found."""
        request = read_body(GetPersonByEmailAddressRequest, body)
        value = find_mail(request.email) or Value("", request.email.lower())
        return await self._found(call, self._mail, value)

    async def _found(self, call: Call, contact_type: int, value: Value) -> bytes:
        self._admission.organisation(call)
        await self._applied.wait_for(call.seen)
        found = await self._database.fetch(_BY_BLIND, self._blind.all_of(contact_type, value.form))
        rows = [row for row in found if row["person_id"] is not None]
        known = await self._citizens(rows, all_fresh=found[0]["all_fresh"])
        today = danish_today(self._clock)
        allowed = {
            person: one
            for person, one in known.items()
            if decide(call.method, call.actor, one.citizen, today).allowed
        }
        await self._access_log.record(*_access_rows(call, list(allowed)))
        shown = [_cpr(allowed[row["person_id"]], row) for row in rows if row["person_id"] in allowed]
        return orjson.dumps({"CprCollection": shown}, option=orjson.OPT_UTC_Z)

    async def _citizens(self, rows: Sequence[asyncpg.Record], *, all_fresh: bool) -> dict[UUID, _Numbered]:
        """Give the citizens behind the rows, the registry telling of those that the replica does not know freshly.

        If any row of the replica may be stale, ask the registry even when nobody was found; otherwise a 503 would reveal
        that somebody has this value.
        """
        fresh = {row["person_id"]: _of_replica(row) for row in rows if row["fresh"]}
        missing = list({row["person_id"] for row in rows} - fresh.keys())
        if not missing and not all_fresh:
            await self._states([uuid4()])
        return fresh | await self._asked(missing)

    async def _asked(self, persons: Sequence[UUID]) -> dict[UUID, _Numbered]:
        found: dict[UUID, _Numbered] = {}
        for begin in range(0, len(persons), ASKED_AT_ONCE):
            for state in await self._states(persons[begin : begin + ASKED_AT_ONCE]):
                match state:
                    case Known():
                        found[state.subject] = _of_state(state)
                    case Erased():
                        pass
                    case _:
                        raise Unavailable(retry_after=1)
        return found

    async def _states(self, persons: Sequence[UUID]) -> Sequence[SubjectState]:
        with needed_answer():
            return await self._registry.states(persons)


def _of_replica(row: asyncpg.Record) -> _Numbered:
    citizen = Citizen.from_state(row["person_id"], row["version"], orjson.loads(row["state"]))
    return _Numbered(citizen, row["person_number"])


def _of_state(state: Known) -> _Numbered:
    citizen = Citizen.from_state(state.subject, state.version, state.state)
    return _Numbered(citizen, state.state["personNumber"])


def _access_rows(call: Call, persons: Sequence[UUID]) -> list[AccessRow]:
    """Make a row per person answered; a search that finds nobody is a row too."""
    detail: Mapping[str, Any] = {"found": len(persons)}
    subjects: Sequence[UUID | None] = persons or [None]
    return [AccessRow(subject, NAMES[call.method], call.caller, detail=detail) for subject in subjects]


def _cpr(one: _Numbered, row: asyncpg.Record) -> dict[str, Any]:
    starts: datetime = row["starts"]
    elements: dict[str, Any] = {"civilregistrationIdentifier": one.number, "RegistrationStartDate": starts}
    if row["ends"] is not None:
        elements["RegistrationEndDate"] = row["ends"]
    return elements
