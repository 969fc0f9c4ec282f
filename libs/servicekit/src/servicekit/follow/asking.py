"""Asking the owner for states: in bulk, with a time limit, where no answer is a reason to wait and never an error."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from servicekit.follow.batch import sort_answers
from servicekit.follow.projection import Announced, Applicable, PendingReason, Projection
from servicekit.follow.states import SubjectState

__all__ = ["Asking"]

log = structlog.get_logger(__name__)

ASK_AT_MOST = 500
REST = 1.0
"""Seconds in which batches do not ask an owner that has just failed; the retry loop asks all the same."""


class Asking:
    """The owner of a projection's states, as its follower sees it."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._rests_until = 0.0
        self._answers_now = True
        self._failed_at = 0.0

    def fails(self, within: float) -> bool:
        """Tell whether it did not answer when it was last asked, if that was within so many seconds."""
        return not self._answers_now and time.monotonic() - self._failed_at < within

    async def ask(
        self, announced: Mapping[UUID, Announced], *, patiently: bool = False
    ) -> tuple[dict[UUID, Applicable], dict[UUID, PendingReason]]:
        """Give the states to apply, and for each subject that must wait the reason."""
        states: dict[UUID, Applicable] = {}
        reasons: dict[UUID, PendingReason] = {}
        subjects = list(announced)
        for begin in range(0, len(subjects), ASK_AT_MOST):
            asked = subjects[begin : begin + ASK_AT_MOST]
            answers = await self._answers(asked, patiently=patiently)
            if answers is None:
                reasons |= dict.fromkeys(asked, "owner-unreachable")
                continue
            some_states, some_reasons = sort_answers(
                {s: announced[s] for s in asked}, {answer.subject: answer for answer in answers}
            )
            states |= some_states
            reasons |= some_reasons
        return states, reasons

    async def _answers(self, subjects: Sequence[UUID], *, patiently: bool) -> Sequence[SubjectState] | None:
        if time.monotonic() < self._rests_until and not patiently:
            return None
        try:
            async with asyncio.timeout(self._projection.fetch_timeout.total_seconds()):
                answers = await self._projection.fetch(subjects)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the owner, its subjects wait
            self._failed(error)
            return None
        self._answers_now, self._rests_until = True, 0.0
        return answers

    def _failed(self, error: Exception) -> None:
        if self._answers_now:
            log.warning("owner_unreachable", stream=self._projection.name, error_type=type(error).__name__)
        self._answers_now, self._failed_at = False, time.monotonic()
        self._rests_until = self._failed_at + REST
