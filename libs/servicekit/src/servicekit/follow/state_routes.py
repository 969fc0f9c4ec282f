"""The owner's side of following: states by id, pages by key order, and digests by which a follower finds what it lacks."""

import asyncio
import gzip
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Protocol
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field

from servicekit.data.postgres import Database
from servicekit.follow.states import Erased, Known
from servicekit.web.compression import takes_gzip
from servicekit.web.http import HotResponse, Routes, at_once, internal_only
from servicekit.web.identity import ServiceVerifier, require_service
from servicekit.web.internal import InternalBody

__all__ = [
    "RANGES",
    "RANGES_AT_ONCE",
    "OwnedState",
    "StateSource",
    "Stored",
    "Versions",
    "bounds",
    "digests_sql",
    "hot_states",
    "state_routes",
    "states_answer",
]

STATES_MOST: Final = 500
PAGE_MOST: Final = 1_000
RANGES: Final = 256
RANGES_AT_ONCE: Final = 16
"""Digested by one statement, so that no statement runs for long."""
WORTH_ZIPPING: Final = 256
ZIPPED_ASIDE: Final = 64 * 1_024
_JSON: Final = (b"content-type", b"application/json")
_GZIP: Final = (b"content-encoding", b"gzip")


@dataclass(frozen=True, slots=True)
class Stored:
    """A state as its owner stores it: JSON text."""

    subject: UUID
    version: int
    state: str


OwnedState = Stored | Known | Erased


@dataclass(frozen=True, slots=True)
class Versions:
    """Which table says what an owner has now: one row per subject that exists, erased ones not among them.

    Names stand in SQL as they are. `key` must be indexed, and its ids random. `erased` is the condition on which a row of the
    owner's ledger `erasures` is about such a subject; None where it keeps none.
    """

    database: Database
    table: str
    key: str
    version: str = "version"
    erased: str | None = None

    async def erased_after(self, after: UUID, limit: int) -> list[Erased]:
        """Give the first erased subjects after one by key order."""
        if self.erased is None:
            return []
        rows = await self.database.fetch(
            f"select subject, version from erasures where subject > $1 and {self.erased} order by subject limit $2",
            after,
            limit,
        )
        return [Erased(*row) for row in rows]

    async def erased_among(self, subjects: Collection[UUID]) -> list[Erased]:
        """Give those of the subjects that were erased."""
        if self.erased is None or not subjects:
            return []
        rows = await self.database.fetch(
            f"select subject, version from erasures where subject = any($1) and {self.erased}", list(subjects)
        )
        return [Erased(*row) for row in rows]


class StateSource(Protocol):
    """What an owner has. Who is not in it is looked for in the ledger of erasures, and else unknown."""

    @property
    def versions(self) -> Versions: ...

    async def states(self, subjects: Sequence[UUID], /) -> Sequence[OwnedState]:
        """Give the states of those subjects that there are."""
        ...

    async def page(self, after: UUID, limit: int, /) -> Sequence[OwnedState]:
        """Give the first subjects after one by key order, erased ones not; fewer than `limit` mean that these were the last."""
        ...


class StatesBody(InternalBody):
    """Which subjects a follower asks for."""

    subjects: Annotated[list[UUID], Field(max_length=STATES_MOST)]


class SnapshotBody(InternalBody):
    """A page by key order; `after` is the last subject of the page before."""

    after: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MOST)] = PAGE_MOST


class RangesBody(InternalBody):
    """Which ranges of subjects, by the first byte of the id."""

    first: Annotated[int, Field(ge=0, lt=RANGES)] = 0
    last: Annotated[int, Field(ge=0, lt=RANGES)] = RANGES - 1


class VersionsBody(InternalBody):
    """One range of subjects, by the first byte of the id."""

    range: Annotated[int, Field(ge=0, lt=RANGES)]


def state_routes(prefix: str, source: Callable[[Request], StateSource], allowed: Sequence[str]) -> APIRouter:
    """Make the routes by which the services of `allowed` go over all states of one kind, to build or to compare.

    By id they are asked for at the route that `hot_states` adds.
    """
    router = APIRouter(prefix=prefix, dependencies=[internal_only(*allowed)])
    found = Annotated[StateSource, at_once(source)]

    @router.post("/snapshot")
    async def snapshot(request: Request, body: SnapshotBody, source: found) -> Response:
        page = await _page(source, body.after or UUID(int=0), body.limit)
        following = page[-1].subject if len(page) == body.limit else None
        return await _answer(request, _states_json(page, (), following))

    @router.post("/ranges")
    async def ranges(request: Request, body: RangesBody, source: found) -> Response:
        digests = await _digests(source.versions, body.first, body.last)
        return await _answer(request, orjson.dumps({"ranges": digests}))

    @router.post("/versions")
    async def versions(request: Request, body: VersionsBody, source: found) -> Response:
        pairs = await _versions(source.versions, body.range)
        return await _answer(request, orjson.dumps({"versions": pairs}))

    return router


def hot_states(
    routes: Routes,
    verifier: ServiceVerifier,
    prefix: str,
    source: StateSource,
    allowed: Sequence[str],
) -> None:
    """Answer `/states`, which each batch of each follower asks, without a framework around it; `allowed` names who may."""

    async def states(headers: Mapping[bytes, bytes], body: bytes) -> HotResponse:
        require_service(verifier.authenticate(headers.get(b"authorization")), allowed)
        answer = await _asked_for(source, StatesBody.read(body))
        return await _hot_answer(headers, answer)

    routes.add("POST", f"{prefix}/states", states)


async def _asked_for(source: StateSource, body: StatesBody) -> bytes:
    known = await source.states(body.subjects)
    missing = set(body.subjects) - {state.subject for state in known}
    # In this order: who is erased between the two was still known, and the event of the erasure follows.
    erased = await source.versions.erased_among(missing)
    unknown = missing - {state.subject for state in erased}
    return _states_json([*known, *erased], unknown, None)


async def _page(source: StateSource, after: UUID, limit: int) -> Sequence[OwnedState]:
    """Give a page with the erased ones in their places: a follower that missed an erasure learns of it by a rebuild."""
    erased = await source.versions.erased_after(after, limit)
    known = await source.page(after, limit)
    return sorted([*known, *erased], key=lambda state: state.subject)[:limit]


def digests_sql(table: str, key: str, version: str, condition: str = "true") -> str:
    """Give the query of count and digest per range of ids between $1 (included) and $2 (not included).

    The digest is the exclusive or of 64 bits of a hash over id and version: the same on any server, in any order of rows.
    """
    digest = f"bit_xor(('x' || left(md5({key}::text || ' ' || {version}::text), 16))::bit(64)::bigint)"
    return (
        f"select get_byte(uuid_send({key}), 0) as range, count(*) as count, {digest} as digest"
        f" from {table} where {key} >= $1 and ($2::uuid is null or {key} < $2) and {condition} group by 1"
    )


def bounds(first: int, last: int) -> tuple[UUID, UUID | None]:
    """Give the first id of the range `first`, and the first one after `last` if there is one."""
    return _first_of(first), None if last + 1 >= RANGES else _first_of(last + 1)


def _first_of(number: int) -> UUID:
    return UUID(bytes=bytes([number]) + bytes(15))


async def _digests(versions: Versions, first: int, last: int) -> list[tuple[int, int, int]]:
    sql = digests_sql(versions.table, versions.key, versions.version)
    found: list[tuple[int, int, int]] = []
    for begin in range(first, last + 1, RANGES_AT_ONCE):
        end = min(begin + RANGES_AT_ONCE - 1, last)
        found += [tuple(row) for row in await versions.database.fetch(sql, *bounds(begin, end))]
    return found


async def _versions(versions: Versions, number: int) -> list[tuple[str, int]]:
    rows = await versions.database.fetch(
        f"select {versions.key}, {versions.version} from {versions.table}"
        f" where {versions.key} >= $1 and ($2::uuid is null or {versions.key} < $2)",
        *bounds(number, number),
    )
    return [(str(subject), version) for subject, version in rows]


def _states_json(
    states: Sequence[OwnedState], unknown: set[UUID] | tuple[()], following: UUID | None
) -> bytes:
    """Put an answer together around JSON as it is stored; whoever is not known is unknown, never erased."""
    parts = [_state_json(state) for state in states]
    parts += [b'{"subject":"%b","unknown":true}' % str(subject).encode() for subject in unknown]
    last = b"null" if following is None else b'"%b"' % str(following).encode()
    return b'{"states":[%b],"next":%b}' % (b",".join(parts), last)


def _state_json(owned: OwnedState) -> bytes:
    head = b'{"subject":"%b","version":%d,' % (str(owned.subject).encode(), owned.version)
    if isinstance(owned, Erased):
        return head + b'"erased":true}'
    text = owned.state.encode() if isinstance(owned, Stored) else orjson.dumps(owned.state)
    return head + b'"state":' + text + b"}"


async def states_answer(request: Request, states: Sequence[OwnedState]) -> Response:
    """Answer states that were found in another way than by id or by page."""
    return await _answer(request, _states_json(states, (), None))


async def _answer(request: Request, body: bytes) -> Response:
    status, headers, sent = await _hot_answer(dict(request.scope["headers"]), body)
    return Response(sent, status, {name.decode(): value.decode() for name, value in headers})


async def _hot_answer(headers: Mapping[bytes, bytes], body: bytes) -> HotResponse:
    accepted = headers.get(b"accept-encoding", b"").decode("latin-1")
    if len(body) < WORTH_ZIPPING or not takes_gzip(accepted):
        return 200, [_JSON], body
    # Compressing lets other threads run, so a large answer does not hold up the other requests of this process.
    aside = len(body) > ZIPPED_ASIDE
    zipped = await asyncio.to_thread(gzip.compress, body, 1) if aside else gzip.compress(body, 1)
    return 200, [_JSON, _GZIP], zipped
