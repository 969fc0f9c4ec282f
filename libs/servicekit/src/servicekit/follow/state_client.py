"""An owner's states as its followers ask for them over HTTP: by id, by page, and by range to compare."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from servicekit.follow.states import BadState, SubjectState, from_wire

__all__ = ["Digest", "HttpStates", "Page", "Post", "StateOwner"]

Post = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Posts JSON to a path of the owner and gives the JSON answered; raises whatever it likes when there is no good answer."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some states by key order, and after whom to go on; None when these were the last."""

    states: Sequence[SubjectState]
    following: UUID | None


@dataclass(frozen=True, slots=True)
class Digest:
    """How many subjects a range holds, and the exclusive or of their hashed versions."""

    count: int
    digest: int


class StateOwner(Protocol):
    """Where a projection is built from, and what it is compared with. Any exception means that there was no answer."""

    async def states(self, subjects: Sequence[UUID], /) -> Sequence[SubjectState]: ...

    async def page(self, after: UUID | None, limit: int, /) -> Page: ...

    async def ranges(self, first: int, last: int, /) -> Mapping[int, Digest]:
        """Give the ranges from `first` to `last` that are not empty."""
        ...

    async def versions(self, number: int, /) -> Mapping[UUID, int]:
        """Give the version of each subject in a range."""
        ...


class HttpStates:
    """One kind of state at its owner; `prefix` is that of the owner's `state_routes`."""

    def __init__(self, post: Post, prefix: str) -> None:
        self._post = post
        self._prefix = prefix

    async def states(self, subjects: Sequence[UUID]) -> list[SubjectState]:
        return [from_wire(entry) for entry in await self._entries(subjects)]

    async def readable(self, subjects: Sequence[UUID]) -> list[SubjectState]:
        """Give those of the states that can be read, where one that cannot must not hide the others."""
        found = []
        for entry in await self._entries(subjects):
            with suppress(BadState):
                found.append(from_wire(entry))
        return found

    async def page(self, after: UUID | None, limit: int) -> Page:
        body = {"after": None if after is None else str(after), "limit": limit}
        answer = await self._ask("snapshot", body)
        following = answer.get("next")
        states = [from_wire(state) for state in _list(answer, "states")]
        return Page(states, None if following is None else _uuid(following))

    async def ranges(self, first: int, last: int) -> dict[int, Digest]:
        answer = await self._ask("ranges", {"first": first, "last": last})
        return {number: Digest(count, digest) for number, count, digest in _list(answer, "ranges")}

    async def versions(self, number: int) -> dict[UUID, int]:
        answer = await self._ask("versions", {"range": number})
        return {_uuid(subject): version for subject, version in _list(answer, "versions")}

    async def _entries(self, subjects: Sequence[UUID]) -> list[Any]:
        answer = await self._ask("states", {"subjects": [str(subject) for subject in subjects]})
        return _list(answer, "states")

    async def _ask(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._post(f"{self._prefix}/{what}", body)
        if not isinstance(answer, dict):
            raise BadState("an answer is no object")
        return answer


def _list(answer: Mapping[str, Any], name: str) -> list[Any]:
    found = answer.get(name)
    if not isinstance(found, list):
        raise BadState("an answer lacks its list")
    return found


def _uuid(value: object) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise BadState("an answer names no subject") from None
