"""Two instances with other code or other code lists, as in a rolling update: neither undoes what the other makes."""

import asyncio
from importlib import import_module
from pathlib import Path
from time import monotonic
from uuid import UUID

import pytest

from cv_contracts.codelists import default
from cv_search import refreshing, store
from cv_search.refreshing import Refresh, maker_of
from cv_search.testing import World
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


async def made_from(world: World) -> str:
    return str(await world.parts.database.fetchval("select made_from from search_state"))


@pytest.mark.parametrize("module", ["cv_search.document", "cv_search.showing", "cv_citizens.citizen"])
def test_documents_are_made_anew_by_other_code_of_theirs(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = maker_of(default())
    assert maker_of(default()) == maker
    edited = str(import_module(module).__file__)
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        return read(path) + (b"#" if str(path) == edited else b"")

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert maker_of(default()) != maker


async def test_who_is_overruled_leaves_the_documents_to_the_other_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, later = await made_from(world), [0.0]
    monkeypatch.setattr(refreshing, "monotonic", lambda: monotonic() + later[0])

    def is_known() -> None:
        assert world.parts.refresh._had == mine

    await eventually(is_known)
    await Refresh(world.parts.documents, lambda: "another").step()
    another = await made_from(world)
    assert another != mine
    await asyncio.sleep(2 * refreshing.LOOK_EVERY.total_seconds())
    assert await made_from(world) == another
    later[0] = refreshing.OVERRULED_REST

    async def are_mine_again() -> None:
        assert await made_from(world) == mine

    await eventually(are_mine_again)


async def test_what_another_is_making_is_left_to_it_until_it_stands_still(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "STANDS_STILL", 0.2)
    refresh = Refresh(world.parts.documents, lambda: "mine")
    making = "update search_state set making = $1, making_after = $2"
    for step in range(4):
        await world.parts.database.execute(making, "another", UUID(int=step))
        await refresh.step()
        await asyncio.sleep(0.1)
        assert await world.parts.database.fetchval("select making from search_state") == "another"
    await asyncio.sleep(0.2)
    await refresh.step()
    assert await made_from(world) == await refresh.wanted()


async def test_what_other_code_shows_otherwise_is_shown_anew_and_the_index_is_left_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world.new(1)
    await world.told(one)
    documents = world.parts.documents
    before, edge = (await documents.shown([one.cv_id]))[one.cv_id].json, await documents.edge()
    assert before is not None
    monkeypatch.setattr(store, "shown_json", lambda person: before + b" ")
    await Refresh(documents, lambda: "another").step()
    assert (await documents.shown([one.cv_id]))[one.cv_id].json == before + b" "
    assert (await documents.edge()).change == edge.change
