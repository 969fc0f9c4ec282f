"""Reads that many want at the same moment: one for all who asked before it began, and never an older answer."""

import asyncio

import pytest

from change_feed.sharing import Shared


class Source:
    """What is read: it changes with each read, and each takes until it is let go."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.may_end = asyncio.Event()

    async def read(self, key: str) -> int:
        self.reads.append(key)
        number = len(self.reads)
        await self.may_end.wait()
        if key == "broken":
            raise OSError
        return number


async def test_those_who_ask_together_share_a_read_and_those_who_ask_later_get_a_newer_one() -> None:
    source = Source()
    shared = Shared(source.read)
    together = [asyncio.create_task(shared.get("a")) for _ in range(100)]
    other = asyncio.create_task(shared.get("b"))
    while len(source.reads) < 2:  # noqa: ASYNC110 - until both have begun
        await asyncio.sleep(0)
    later = asyncio.create_task(shared.get("a"))
    await asyncio.sleep(0)
    source.may_end.set()
    assert set(await asyncio.gather(*together)) == {1}
    assert (await other, await later) == (2, 3)
    assert source.reads == ["a", "b", "a"]


async def test_who_gives_up_leaves_the_read_to_the_others_and_an_error_is_everybodys() -> None:
    source = Source()
    shared = Shared(source.read)
    gives_up, stays = (asyncio.create_task(shared.get("a")) for _ in range(2))
    broken = [asyncio.create_task(shared.get("broken")) for _ in range(2)]
    while len(source.reads) < 2:  # noqa: ASYNC110 - until both have begun
        await asyncio.sleep(0)
    gives_up.cancel()
    source.may_end.set()
    assert await stays == 1
    for one in broken:
        with pytest.raises(OSError):  # noqa: PT011 - of no particular kind
            await one
    with pytest.raises(asyncio.CancelledError):
        await gives_up
