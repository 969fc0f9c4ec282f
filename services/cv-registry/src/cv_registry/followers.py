"""What the registry follows so that GetCV is whole: one declaration per projection."""

from datetime import datetime
from functools import partial
from typing import Any, Final

from cv_contracts.codelists import CodeLists
from cv_contracts.events.contact_verification import ContactSaved
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.topics import topic_of
from cv_registry.contacts import row_of
from servicekit.follow.projection import Projection
from servicekit.follow.rows import Rows
from servicekit.follow.state_client import HttpStates, Post
from servicekit.follow.states import Known

STATUSES: Final = "statuses"
CONTACTS: Final = "contacts"

_SAVE_STATUSES: Final = """
INSERT INTO statuses (generation, cv_id, version, status, comment, set_at)
SELECT $1, s.* FROM unnest($2::uuid[], $3::bigint[], $4::smallint[], $5::text[], $6::timestamptz[]) AS s
ON CONFLICT (generation, cv_id) DO UPDATE SET
    version = excluded.version, status = excluded.status, comment = excluded.comment, set_at = excluded.set_at
"""
_SAVE_CONTACTS: Final = """
INSERT INTO contacts (generation, person_id, version, replaced, ready, types)
SELECT $1, s.* FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[]) AS s
ON CONFLICT (generation, person_id) DO UPDATE SET
    version = excluded.version, replaced = excluded.replaced, ready = excluded.ready, types = excluded.types
"""


def contacts(post: Post, lists: CodeLists) -> Projection:
    """Declare the contact data that each citizen has now, as contact-verification owns them."""
    owner = HttpStates(post, "/internal/contacts")

    rows = Rows("contacts", "person_id", _SAVE_CONTACTS, partial(row_of, lists=lists))
    return Projection(
        name=CONTACTS,
        topic=topic_of(ContactSaved),
        fetch=owner.states,
        apply=rows.apply,
        durable=False,
        owner=owner,
        remove=rows.remove,
    )


def statuses(post: Post) -> Projection:
    """Declare the status that each CV has now, as cv-status owns it."""
    owner = HttpStates(post, "/internal/statuses")
    rows = Rows("statuses", "cv_id", _SAVE_STATUSES, _status_row)
    return Projection(
        name=STATUSES,
        topic=topic_of(StatusSet),
        fetch=owner.states,
        apply=rows.apply,
        durable=False,
        owner=owner,
        remove=rows.remove,
    )


def _status_row(known: Known) -> tuple[Any, ...]:
    state = known.state
    set_at = datetime.fromisoformat(state["time"])
    return known.subject, known.version, state["status"], state.get("comment"), set_at
