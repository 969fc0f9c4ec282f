"""Asks the registry what became of prepared changes that nobody has told the end of."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import structlog

from contact_verification.preparing import Prepares
from servicekit.web.client import ServiceError

log = structlog.get_logger(__name__)

MOST: Final = 100

Post = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Settling:
    """Settles changes by the registry's word, which is final: what it has called abandoned is never committed."""

    def __init__(self, prepares: Prepares, post: Post) -> None:
        self._prepares = prepares
        self._post = post

    async def settle_due(self) -> int:
        """Settle what is due; gives how many. Without an answer they wait for the next time."""
        due = await self._prepares.due(MOST)
        if not due:
            return 0
        try:
            answer = await self._post("/internal/cv-contacts/settle", _asked(due))
            committed, abandoned = _named(answer, "committed"), _named(answer, "abandoned")
        except (ServiceError, KeyError, TypeError, ValueError) as error:
            log.warning("prepared_changes_wait", count=len(due), error_type=type(error).__name__)
            return 0
        await self._prepares.settle(committed & set(due), abandoned & set(due))
        return len(due)


def _asked(due: list[UUID]) -> dict[str, Any]:
    return {"prepareIds": [str(prepare) for prepare in due]}


def _named(answer: Any, what: str) -> set[UUID]:
    """Give those of one kind; raises if the answer does not speak of them."""
    return {UUID(prepare) for prepare in answer[what]}
