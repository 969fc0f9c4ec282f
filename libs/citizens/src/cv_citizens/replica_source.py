"""Where a replica of citizens comes from: the registry's internal routes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, Protocol

import structlog

from cv_contracts.faults import Unavailable
from servicekit.follow.state_client import HttpStates, Post, StateOwner
from servicekit.follow.states import BadState, Known, from_wire

__all__ = ["WIRE_NAMES", "HttpRegistry", "Number", "Post", "Registry", "needed_answer"]

log = structlog.get_logger(__name__)

Number = Literal["person_number", "cv_number"]
WIRE_NAMES: Final[dict[Number, str]] = {"person_number": "personNumber", "cv_number": "cvNumber"}


class Registry(StateOwner, Protocol):
    """The registry as whoever keeps a replica of its citizens sees it. Any exception means that it gave no answer."""

    async def lookup(self, by: Number, number: str, /) -> Known | None:
        """Give the citizen who has this number now."""
        ...


@contextmanager
def needed_answer() -> Iterator[None]:
    """Ask the registry inside: whatever keeps it from an answer is noted, and Unavailable (503, `Retry-After` 1)."""
    try:
        yield
    except Exception as error:
        log.warning("registry_gave_no_citizen", error_type=type(error).__name__)
        raise Unavailable(retry_after=1) from error


class HttpRegistry(HttpStates):
    """The registry over its internal routes. Numbers travel in bodies: addresses end up in logs."""

    def __init__(self, post: Post) -> None:
        super().__init__(post, "/internal/citizens")

    async def lookup(self, by: Number, number: str) -> Known | None:
        element = WIRE_NAMES[by]
        match (await self._ask("lookup", {element: number})).get("states"):
            case []:
                return None
            case [dict() as answer]:
                state = from_wire(answer)
                if isinstance(state, Known) and state.state.get(element) == number:
                    return state
        raise BadState("the answer is not about whoever has the number")
