"""How writes are kept out of an erasure."""

from typing import Any

from cv_citizens.erasing import keep_out
from servicekit.data.postgres import lock_number


class Locks:
    """A connection that notes which locks are asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    async def execute(self, _query: str, numbers: list[int]) -> None:
        self.asked.append(numbers)


async def test_all_lock_in_one_order_so_that_two_never_wait_for_each_other() -> None:
    conn: Any = Locks()
    keys = [f"citizen {n}" for n in range(10)]
    await keep_out(conn, [*keys, keys[0]])
    await keep_out(conn, reversed(keys))
    first, second = conn.asked
    assert first == second
    assert set(first) == {lock_number(key) for key in keys}
    assert len(first) == len(keys)
