"""What cv-search follows: CVs, statuses and citizens, each as a part of the documents that are searched."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from cv_citizens.citizen import Citizen
from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.topics import topic_of
from cv_search.document import may_be_shown
from cv_search.store import CITIZENS, CVS, STATUSES, SearchDocuments
from servicekit.follow.projection import Applicable, Apply, Connection, Projection, Remove
from servicekit.follow.state_client import HttpStates, Post, StateOwner
from servicekit.follow.states import Erased, Known

__all__ = ["projections"]

_SAVE_CVS: Final = """
insert into cv_parts (generation, cv_id, part) select $1, s.* from unnest($2::uuid[], $3::bytea[]) as s
on conflict (generation, cv_id) do update set part = excluded.part
"""
_SAVE_STATUSES: Final = """
insert into status_parts (generation, cv_id, status) select $1, s.* from unnest($2::uuid[], $3::smallint[]) as s
on conflict (generation, cv_id) do update set status = excluded.status
"""
_SAVE_CITIZENS: Final = """
insert into citizen_parts (generation, person_id, cv_id, part)
select $1, s.* from unnest($2::uuid[], $3::uuid[], $4::bytea[]) as s
on conflict (generation, person_id) do update set cv_id = excluded.cv_id, part = excluded.part
"""
_REMOVE: Final = "delete from {table} where generation = $1 and {key} = any($2::uuid[])"
_CVS_OF: Final = "select cv_id from citizen_parts where generation = $1 and person_id = any($2::uuid[])"

PAUSE: Final = timedelta(milliseconds=100)
CV_PAUSE: Final = timedelta(milliseconds=200)
"""Of CVs many more change than of anything else, and each batch costs ten statements, an answer of the owner and a commit of
the index, whatever is in it."""

_SHOWN: Final = ("cvNumber", "givenName", "middleName", "familyName")
_PLACE: Final = ("countryCode", "postalCode", "postalArea")


def projections(
    registry: Post, cv_status: Post, documents: SearchDocuments, applied: Callable[[], None] | None = None
) -> list[Projection]:
    """Give all that this service follows; `applied` is called when documents may be new."""
    followed = [
        _projection(
            CVS, CVChanged, HttpStates(registry, "/internal/cvs"), _by_cv(documents, CVS, _cv), CV_PAUSE
        ),
        _projection(
            STATUSES,
            StatusSet,
            HttpStates(cv_status, "/internal/statuses"),
            _by_cv(documents, STATUSES, _status),
        ),
        _projection(
            CITIZENS, CitizenChanged, HttpStates(registry, "/internal/citizens"), _by_person(documents)
        ),
    ]
    return [replace(one, applied=applied) for one in followed]


def _projection(
    name: str, event: type[Any], owner: StateOwner, apply: Apply, pause: timedelta = PAUSE
) -> Projection:
    table, key = _TABLES[name]
    return Projection(
        name=name,
        topic=topic_of(event),
        fetch=owner.states,
        apply=apply,
        pause=pause,
        owner=owner,
        remove=_remove(_REMOVE.format(table=table, key=key)),
    )


_TABLES: Final = {
    CVS: ("cv_parts", "cv_id"),
    STATUSES: ("status_parts", "cv_id"),
    CITIZENS: ("citizen_parts", "person_id"),
}


def _remove(sql: str) -> Remove:
    async def remove(conn: Connection, generation: int, subjects: Sequence[UUID]) -> None:
        await conn.execute(sql, generation, subjects)

    return remove


def _by_cv(documents: SearchDocuments, name: str, column: Callable[[Mapping[str, Any]], Any]) -> Apply:
    table, key = _TABLES[name]
    save = {CVS: _SAVE_CVS, STATUSES: _SAVE_STATUSES}[name]
    delete = _REMOVE.format(table=table, key=key)

    async def apply(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        known, erased = _sorted_out(states)
        if erased:
            await conn.execute(delete, generation, erased)
        if known:
            await conn.execute(save, generation, [s.subject for s in known], [column(s.state) for s in known])
        await documents.changed(conn, name, generation, [state.subject for state in states])

    return apply


def _by_person(documents: SearchDocuments) -> Apply:
    delete = _REMOVE.format(table="citizen_parts", key="person_id")

    async def apply(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        known, erased = _sorted_out(states)
        before = await conn.fetch(_CVS_OF, generation, [state.subject for state in states])
        if erased:
            await conn.execute(delete, generation, erased)
        citizens = [Citizen.from_state(s.subject, s.version, s.state) for s in known]
        if known:
            parts = [_citizen(citizen, s.state) for citizen, s in zip(citizens, known, strict=True)]
            ids = [citizen.person_id for citizen in citizens], [citizen.cv_id for citizen in citizens]
            await conn.execute(_SAVE_CITIZENS, generation, *ids, parts)
        cvs = {row["cv_id"] for row in before} | {citizen.cv_id for citizen in citizens}
        await documents.changed(conn, CITIZENS, generation, sorted(cvs))

    return apply


def _sorted_out(states: Sequence[Applicable]) -> tuple[list[Known], list[UUID]]:
    return (
        [state for state in states if isinstance(state, Known)],
        [state.subject for state in states if isinstance(state, Erased)],
    )


def _cv(state: Mapping[str, Any]) -> bytes:
    """Keep the content only while it can be searched; a CV that is restored is told of with its content."""
    part = {name: state[name] for name in ("state", "personId", "revisionDate")}
    return orjson.dumps({**part, "content": state["content"] if state["state"] == "ACTIVE" else {}})


def _status(state: Mapping[str, Any]) -> int:
    return int(state["status"])


def _citizen(citizen: Citizen, state: Mapping[str, Any]) -> bytes:
    """Keep what a result shows and the rules read; of the dead and the protected, that they are."""
    part: dict[str, Any] = citizen.to_state()
    if may_be_shown(citizen):
        part |= {name: state[name] for name in _SHOWN if name in state}
        part["address"] = {name: state["address"][name] for name in _PLACE}
    return orjson.dumps(part)
