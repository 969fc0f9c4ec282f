"""The table of a projection that keeps one row per subject: saves what is known, deletes what is erased."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from servicekit.follow.projection import Applicable, Connection
from servicekit.follow.states import Erased, Known

__all__ = ["Rows"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of `table`, by generation and by `key`, the subject; `apply` and `remove` are those of a Projection.

    `save` is an upsert that takes the generation and then an array for each of the columns that `row` gives.
    """

    table: str
    key: str
    save: str
    row: Callable[[Known], Sequence[Any]]

    async def apply(self, conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        if erased := [state.subject for state in states if isinstance(state, Erased)]:
            await self.remove(conn, generation, erased)
        if known := [self.row(state) for state in states if isinstance(state, Known)]:
            await conn.execute(self.save, generation, *map(list, zip(*known, strict=True)))

    async def remove(self, conn: Connection, generation: int, subjects: Sequence[UUID]) -> None:
        delete = f"delete from {self.table} where generation = $1 and {self.key} = any($2::uuid[])"
        await conn.execute(delete, generation, subjects)
