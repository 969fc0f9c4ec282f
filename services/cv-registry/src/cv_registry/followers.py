"""What the registry follows so that GetCV is whole: one declaration per projection."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cv_contracts.codelists import CodeLists
from cv_contracts.events.contact_verification import ContactSaved
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.topics import topic_of
from cv_registry.contacts import row_of
from servicekit.follow.projection import Applicable, Connection, Projection
from servicekit.follow.state_client import HttpStates, Post
from servicekit.follow.states import Erased, Known

STATUSES: Final = "statuses"
CONTACTS: Final = "contacts"

_SAVE_STATUSES: Final = """
INSERT INTO statuses (generation, cv_id, version, status, comment, set_at)
SELECT $1, s.* FROM unnest($2::uuid[], $3::bigint[], $4::smallint[], $5::text[], $6::timestamptz[]) AS s
ON CONFLICT (generation, cv_id) DO UPDATE SET
    version = excluded.version, status = excluded.status, comment = excluded.comment, set_at = excluded.set_at
"""
_REMOVE_STATUSES: Final = "DELETE FROM statuses WHERE generation = $1 AND cv_id = ANY($2::uuid[])"
_SAVE_CONTACTS: Final = """
INSERT INTO contacts (generation, person_id, version, replaced, ready, types)
SELECT $1, s.* FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[]) AS s
ON CONFLICT (generation, person_id) DO UPDATE SET
    version = excluded.version, replaced = excluded.replaced, ready = excluded.ready, types = excluded.types
"""
_REMOVE_CONTACTS: Final = "DELETE FROM contacts WHERE generation = $1 AND person_id = ANY($2::uuid[])"


def contacts(post: Post, lists: CodeLists) -> Projection:
    """Declare the contact data that each citizen has now, as contact-verification owns them."""
    owner = HttpStates(post, "/internal/contacts")

    async def apply(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        erased = [state.subject for state in states if isinstance(state, Erased)]
        known = [row_of(state, lists) for state in states if isinstance(state, Known)]
        if erased:
            await _remove_contacts(conn, generation, erased)
        if known:
            await conn.execute(_SAVE_CONTACTS, generation, *map(list, zip(*known, strict=True)))

    return Projection(
        name=CONTACTS,
        topic=topic_of(ContactSaved),
        fetch=owner.states,
        apply=apply,
        durable=False,
        owner=owner,
        remove=_remove_contacts,
    )


def statuses(post: Post) -> Projection:
    """Declare the status that each CV has now, as cv-status owns it."""
    owner = HttpStates(post, "/internal/statuses")
    return Projection(
        name=STATUSES,
        topic=topic_of(StatusSet),
        fetch=owner.states,
        apply=_apply_statuses,
        durable=False,
        owner=owner,
        remove=_remove_statuses,
    )


async def _apply_statuses(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
    erased = [state.subject for state in states if isinstance(state, Erased)]
    known = [_status_row(state) for state in states if isinstance(state, Known)]
    if erased:
        await _remove_statuses(conn, generation, erased)
    if known:
        await conn.execute(_SAVE_STATUSES, generation, *map(list, zip(*known, strict=True)))


async def _remove_contacts(conn: Connection, generation: int, subjects: Sequence[UUID]) -> None:
    await conn.execute(_REMOVE_CONTACTS, generation, subjects)


async def _remove_statuses(conn: Connection, generation: int, subjects: Sequence[UUID]) -> None:
    await conn.execute(_REMOVE_STATUSES, generation, subjects)


def _status_row(known: Known) -> tuple[Any, ...]:
    state = known.state
    set_at = datetime.fromisoformat(state["time"])
    return known.subject, known.version, state["status"], state.get("comment"), set_at
