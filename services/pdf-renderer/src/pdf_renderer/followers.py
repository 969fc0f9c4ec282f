"""What pdf-renderer follows: citizens, to remove what is erased; statuses, to render frozen versions before anybody asks."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.topics import topic_of
from pdf_renderer.store import erase, render_ahead
from servicekit.follow.projection import Applicable, Connection, Projection
from servicekit.follow.state_client import HttpStates, Post
from servicekit.follow.states import Erased, Known

__all__ = ["projections"]

PAUSE: Final = timedelta(milliseconds=250)
"""Nobody reads what is kept here of citizens and statuses, so that it need not arrive sooner."""


def projections(registry: Post, cv_status: Post) -> list[Projection]:
    """Give all that this service follows."""
    citizens = HttpStates(registry, "/internal/citizens")
    statuses = HttpStates(cv_status, "/internal/statuses")
    return [
        Projection(
            name="citizens",
            topic=topic_of(CitizenChanged),
            fetch=citizens.states,
            apply=_apply_citizens,
            pause=PAUSE,
        ),
        Projection(
            name="statuses",
            topic=topic_of(StatusSet),
            fetch=statuses.states,
            apply=_apply_statuses,
            pause=PAUSE,
        ),
    ]


async def _apply_citizens(conn: Connection, _generation: int, states: Sequence[Applicable]) -> None:
    await _erase(conn, states)


async def _apply_statuses(conn: Connection, _generation: int, states: Sequence[Applicable]) -> None:
    await _erase(conn, states)
    known = (state for state in states if isinstance(state, Known))
    frozen = [(UUID(s.state["versionId"]), s.subject) for s in known if s.state.get("versionId")]
    if frozen:
        await render_ahead(conn, frozen)


async def _erase(conn: Connection, states: Sequence[Applicable]) -> None:
    erased = [state.subject for state in states if isinstance(state, Erased)]
    if erased:
        await erase(conn, erased)
