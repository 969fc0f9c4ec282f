"""What cv-search follows: CVs, statuses and citizens, each as a part of the documents that are searched."""

from collections.abc import Callable, Sequence
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
from servicekit.follow.projection import Applicable, Apply, Connection, Projection
from servicekit.follow.rows import Rows
from servicekit.follow.state_client import HttpStates, Post, StateOwner
from servicekit.follow.states import Known

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
        _projection(CVS, CVChanged, HttpStates(registry, "/internal/cvs"), _by_cv(documents, CVS), CV_PAUSE),
        _projection(
            STATUSES,
            StatusSet,
            HttpStates(cv_status, "/internal/statuses"),
            _by_cv(documents, STATUSES),
        ),
        _projection(
            CITIZENS, CitizenChanged, HttpStates(registry, "/internal/citizens"), _by_person(documents)
        ),
    ]
    return [replace(one, applied=applied) for one in followed]


def _projection(
    name: str, event: type[Any], owner: StateOwner, apply: Apply, pause: timedelta = PAUSE
) -> Projection:
    return Projection(
        name=name,
        topic=topic_of(event),
        fetch=owner.states,
        apply=apply,
        pause=pause,
        owner=owner,
        remove=_ROWS[name].remove,
    )


def _by_cv(documents: SearchDocuments, name: str) -> Apply:
    async def apply(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        await _ROWS[name].apply(conn, generation, states)
        await documents.changed(conn, name, generation, [state.subject for state in states])

    return apply


def _by_person(documents: SearchDocuments) -> Apply:
    async def apply(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        before = await conn.fetch(_CVS_OF, generation, [state.subject for state in states])
        await _ROWS[CITIZENS].apply(conn, generation, states)
        now = {UUID(state.state["cvId"]) for state in states if isinstance(state, Known)}
        await documents.changed(conn, CITIZENS, generation, sorted({row["cv_id"] for row in before} | now))

    return apply


def _cv(known: Known) -> tuple[UUID, bytes]:
    """Keep the content only while it can be searched; a CV that is restored is told of with its content."""
    state = known.state
    part = {name: state[name] for name in ("state", "personId", "revisionDate")}
    part["content"] = state["content"] if state["state"] == "ACTIVE" else {}
    return known.subject, orjson.dumps(part)


def _status(known: Known) -> tuple[UUID, int]:
    return known.subject, int(known.state["status"])


def _citizen(known: Known) -> tuple[UUID, UUID, bytes]:
    """Keep what a result shows and the rules read; of the dead and the protected, that they are."""
    state = known.state
    citizen = Citizen.from_state(known.subject, known.version, state)
    part: dict[str, Any] = citizen.to_state()
    if may_be_shown(citizen):
        part |= {name: state[name] for name in _SHOWN if name in state}
        part["address"] = {name: state["address"][name] for name in _PLACE}
    return citizen.person_id, citizen.cv_id, orjson.dumps(part)


_ROWS: Final = {
    CVS: Rows("cv_parts", "cv_id", _SAVE_CVS, _cv),
    STATUSES: Rows("status_parts", "cv_id", _SAVE_STATUSES, _status),
    CITIZENS: Rows("citizen_parts", "person_id", _SAVE_CITIZENS, _citizen),
}
