"""Which citizens are named as placed by a version that their owner has lost: the feed's own, and not more than can be read."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from change_feed import comparing
from change_feed.comparing import NAMED_AT_MOST, Difference
from servicekit.follow.state_client import Digest, Page
from servicekit.follow.state_routes import RANGES
from servicekit.follow.states import Erased, SubjectState, Unknown


def subject(number: int, n: int) -> UUID:
    """Give one of the subjects of a range."""
    return UUID(int=(number << 120) + n)


class Feed:
    """A feed's database that has citizens only; says of each range that it is another one than the owner's."""

    def __init__(self, ours: dict[UUID, int]) -> None:
        self._ours = ours

    async def fetch(self, query: str, low: UUID, high: UUID | None) -> list[dict[str, Any]]:
        if "person_id" not in query:
            return []
        last = RANGES if high is None else high.bytes[0]
        found = {one: v for one, v in self._ours.items() if low.bytes[0] <= one.bytes[0] < last}
        if "digest" in query:
            return [{"range": number, "count": 0, "digest": 1} for number in {one.bytes[0] for one in found}]
        return [{"subject": one, "version": version} for one, version in found.items()]


class Owner:
    """An owner who counts the ranges that are looked into."""

    def __init__(self, theirs: dict[UUID, int], erased: Sequence[UUID] = ()) -> None:
        self._theirs = theirs
        self._erased = erased
        self.looked_into: list[int] = []

    async def states(self, subjects: Sequence[UUID], /) -> list[SubjectState]:
        assert 0 < len(subjects) <= 500
        return [Erased(one, 9) if one in self._erased else Unknown(one) for one in subjects]

    async def page(self, _after: UUID | None, _limit: int, /) -> Page:
        raise NotImplementedError

    async def ranges(self, first: int, last: int, /) -> dict[int, Digest]:
        return {number: Digest(5, 2) for number in range(first, last + 1)} if self._theirs else {}

    async def versions(self, number: int, /) -> dict[UUID, int]:
        self.looked_into.append(number)
        return {one: version for one, version in self._theirs.items() if one.bytes[0] == number}


async def compared(ours: dict[UUID, int], owner: Owner) -> Sequence[Difference]:
    feed: Any = Feed(ours)
    return (await comparing.compare_owners(feed, Owner({}), owner)).lost


async def test_only_ranges_of_the_feed_s_own_citizens_are_looked_into() -> None:
    same, further, older, gone = (subject(7, n) for n in range(4))
    owner = Owner({same: 2, further: 3, older: 1, subject(7, 5): 1, subject(8, 1): 1})
    lost = await compared(dict.fromkeys((same, further, older, gone), 2), owner)
    assert lost == [Difference(older, 2, 1), Difference(gone, 2, None)]
    assert owner.looked_into == [7]


async def test_an_erasure_that_is_on_its_way_is_none_that_was_lost() -> None:
    erased, gone = subject(1, 1), subject(1, 2)
    assert await compared({erased: 2, gone: 2}, Owner({}, [erased])) == [Difference(gone, 2, None)]


async def test_once_enough_are_named_no_more_ranges_are_looked_into() -> None:
    ours = {subject(number, n): 2 for number in range(5) for n in range(NAMED_AT_MOST * 2 // 5)}
    owner = Owner({})
    assert len(await compared(ours, owner)) == NAMED_AT_MOST
    assert owner.looked_into == [0, 1, 2]
