"""The replica of citizens that a service keeps, so that it decides access by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from cv_citizens.citizen import Citizen
from cv_citizens.replica_source import WIRE_NAMES, Number, Registry, needed_answer
from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.topics import topic_of
from servicekit.data.postgres import Database
from servicekit.follow.freshness import fresh_sql
from servicekit.follow.projection import Applicable, Apply, Connection, Projection
from servicekit.follow.rows import Rows
from servicekit.follow.states import BadState, Erased, Known
from servicekit.kafka import partition_of

__all__ = [
    "NAME",
    "TOPIC",
    "By",
    "Found",
    "Number",
    "Replica",
    "citizen_sql",
    "citizens_sql",
    "found",
    "is_fresh",
    "newest",
    "replica_projection",
]

NAME: Final = "citizens"
TOPIC: Final = topic_of(CitizenChanged)

By = Literal[Number, "cv_id", "person_id"]

_FRESH: Final = fresh_sql(NAME, TOPIC, subject="c.person_id", partition="c.partition")

_SAVE: Final = """
insert into citizens (generation, person_id, cv_id, person_number, cv_number, version, partition, state)
select $1, s.* from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::int[], $8::jsonb[]) as s
on conflict (generation, person_id) do update set
    cv_id = excluded.cv_id, person_number = excluded.person_number, cv_number = excluded.cv_number,
    version = excluded.version, partition = excluded.partition, state = excluded.state
"""


def citizen_sql(by: By, *, lock: bool = False) -> str:
    """Give the query of one citizen in the live generation, `$1` being the number or id; read its row by `found`.

    `lock` makes a change of the citizen, and of which generation is live, wait until the transaction ends: a write is
    decided by one consistent state.
    """
    return f"""
{_select()}
where c.{by} = $1 order by c.version desc limit 1{" for share of c for key share of g" if lock else ""}
"""


def citizens_sql(by: By, *, columns: str = "", joins: str = "") -> str:
    """As `citizen_sql`, for the citizens of all the numbers or ids in the array `$1`; the row has the number or id too.

    `columns` and `joins` add what a service reads along with them (the citizen is `c`).
    """
    return f"""
{_select(f"distinct on (c.{by}) c.{by},", columns, joins)}
where c.{by} = any($1) order by c.{by}, c.version desc
"""


def _select(first: str = "", columns: str = "", joins: str = "") -> str:
    return f"""
select {first} c.person_id, c.version, c.state, {_FRESH} as fresh{", " + columns if columns else ""}
from citizens c
join projection_generations g on g.projection = '{NAME}' and g.generation = c.generation and g.status = 'live'
{joins}"""


@dataclass(frozen=True, slots=True)
class Found:
    """A citizen as the replica has it. Not fresh: nothing may be decided by it before the registry was asked (rule 7)."""

    citizen: Citizen
    fresh: bool


def found(row: Any) -> Found:
    """Read a row of `citizen_sql`."""
    citizen = Citizen.from_state(row["person_id"], row["version"], orjson.loads(row["state"]))
    return Found(citizen, row["fresh"])


def is_fresh(found: Found | None) -> bool:
    """Tell whether a decision about access may rest on the replica alone."""
    return found is not None and found.fresh


def newest(asked: Citizen, held: Found | None, *, erased: bool) -> Citizen | None:
    """Choose between the citizen found before a transaction and the one held in it; erased beats both."""
    if erased:
        return None
    return held.citizen if held is not None and held.citizen.version >= asked.version else asked


class Replica:
    """Finds citizens, the registry standing in wherever the replica is not fresh enough for a decision about access."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry
        self._queries = {by: citizen_sql(by) for by in ("person_number", "cv_number")}

    async def load(self, by: Number, number: str) -> Found | None:
        """Look into the replica only."""
        row = await self._database.fetchrow(self._queries[by], number)
        return None if row is None else found(row)

    async def resolve(self, by: Number, number: str) -> Citizen | None:
        """Give the citizen with this number, None if there is none; raises Unavailable when nobody can tell now."""
        return await self.confirm(await self.load(by, number), by, number)

    async def confirm(self, loaded: Found | None, by: Number, number: str) -> Citizen | None:
        """Do the rest of `resolve` for what a query of the service's own has loaded."""
        if loaded is not None and loaded.fresh:
            return loaded.citizen
        with needed_answer():
            if loaded is None:
                return await self._looked_up(by, number)
            return await self._asked(loaded.citizen, by, number)

    async def _looked_up(self, by: Number, number: str) -> Citizen | None:
        state = await self._registry.lookup(by, number)
        return None if state is None else _citizen(state)

    async def _asked(self, loaded: Citizen, by: Number, number: str) -> Citizen | None:
        """Ask about a citizen that the replica knows; "unknown" is no answer then, for the registry forgets nobody."""
        [state] = await self._registry.states([loaded.person_id])
        match state:
            case Erased():
                return None
            case Known() if state.version >= loaded.version:
                has_it = state.state.get(WIRE_NAMES[by]) == number
                return _citizen(state) if has_it else await self._looked_up(by, number)
            case Known():
                return loaded
        raise BadState("a citizen that is known here is unknown to the registry")


def _citizen(state: Known) -> Citizen:
    return Citizen.from_state(state.subject, state.version, state.state)


def replica_projection(registry: Registry, *, erase: Apply | None = None) -> Projection:
    """Declare the replica. `erase` is given the erased citizens first: it removes what the service itself has of them."""
    rows = Rows("citizens", "person_id", _SAVE, _columns)

    async def apply(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        erased = [state for state in states if isinstance(state, Erased)]
        if erase is not None and erased:
            await erase(conn, generation, erased)
        await rows.apply(conn, generation, states)

    return Projection(
        name=NAME,
        topic=TOPIC,
        fetch=registry.states,
        apply=apply,
        durable=False,
        owner=registry,
        remove=rows.remove,
    )


def _columns(state: Known) -> tuple[UUID, UUID, str, str | None, int, int, str]:
    citizen = _citizen(state)
    return (
        citizen.person_id,
        citizen.cv_id,
        state.state["personNumber"],
        citizen.cv_number,
        citizen.version,
        partition_of(str(state.subject).encode(), TOPIC.partitions),
        orjson.dumps(citizen.to_state()).decode(),
    )
