"""What callers write: how it is sent, the event it publishes, and the rows in which its owner keeps every write."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache

import httpx
from tests.e2e.caller import Caller, population, small_cv
from tests.e2e.statuses import READY, authority, of_group, set_status
from tests.e2e.system import REGISTRY

from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.events.cv_status import StatusSet
from cvhub.synthetic import SyntheticCitizen

JOBCENTER_TYPE = 8


@dataclass(frozen=True)
class Stream:
    """`revisions` gives cv_id, version and a content that holds the write's marker, of these CV ids."""

    event: type[Event]
    owner: str
    revisions: str
    persons: Callable[[], list[SyntheticCitizen]]
    send: Callable[[Caller, str, str], Awaitable[httpx.Response]]
    """Writes about the citizen of this person number; the marker is in the content, and is the request's id."""


async def _replace_cv(caller: Caller, person: str, marker: str) -> httpx.Response:
    return await caller.replace_cv(person, small_cv(f"<p>{marker}</p>"), x_requestid=marker)


async def _set_ready(caller: Caller, person: str, marker: str) -> httpx.Response:
    one = _by_number()[person]
    center = caller.acting(authority(one, JOBCENTER_TYPE), gateway=caller.gateway)
    return await set_status(center, one, READY, marker, x_requestid=marker)


@cache
def _on_benefit() -> list[SyntheticCitizen]:
    """Give citizens whose jobcenter sets the status, those last whom no other test writes about."""
    return [one for one in of_group(2) if one.cv_number][-8:]


@cache
def _by_number() -> dict[str, SyntheticCitizen]:
    return {one.person_number: one for one in _on_benefit()}


CVS = Stream(
    CVChanged,
    REGISTRY,
    "select cv_id, version, convert_from(content, 'utf8') as content from cv_revisions where cv_id = any($1)",
    lambda: population(120)[:50],
    _replace_cv,
)
STATUSES = Stream(
    StatusSet,
    "cv-status",
    "select cv_id, version, comment as content from frozen_versions where cv_id = any($1)",
    _on_benefit,
    _set_ready,
)
