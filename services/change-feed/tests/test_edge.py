"""Which positions a feed that was restored still knows: its back-up's last one, and the first one given out after that."""

from typing import Any
from uuid import UUID

import pytest

from change_feed import leading
from change_feed.settings import Settings
from change_feed.store import Edge
from change_feed.testing import World
from cv_citizens.testing import MUNICIPALITY, a_caller, relation
from servicekit.testing import eventually

HERE = a_caller(MUNICIPALITY)

EDGE = Edge(UUID(int=1), 20, 0, seeded=True, restores=[[10, 20]])


@pytest.mark.parametrize(
    ("position", "instead"), [(9, None), (10, None), (11, 10), (19, 10), (20, None), (21, 20)]
)
def test_only_what_lies_between_the_two_was_forgotten(position: int, instead: int | None) -> None:
    assert EDGE.instead_of(position) == instead


@pytest.mark.infra
async def test_a_mark_at_the_very_edge_outlives_a_silence(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No database that is whole has forgotten it: what was is up to the edge, and what was not begins after it."""
    monkeypatch.setattr(leading, "EDGE_EVERY", 3600.0)
    monkeypatch.setattr(leading, "SILENCE", 0)
    async with start(settings) as world:
        await world.log.send(*[world.cv(world.person(relation(MUNICIPALITY))) for _ in range(2)])
        await world.arrived(2)
        await world.committed()
        [[edge]] = await world.rows("select edge from feed")
        mark = (await world.snapshot(HERE, limit=1)).json()["next"]
        assert [[edge]] == [list(row) for row in await world.rows("select edge from feed")]
    async with start(settings) as world:
        await eventually(lambda: _forgets_after(world, edge))
        assert (await world.snapshot(HERE, mark)).status_code == 200


async def _forgets_after(world: World, edge: int) -> None:
    assert [row["after_position"] for row in await world.rows("select * from restores")] == [edge]
