"""After an erasure nothing of the person lies in the service any more, the files of its index included."""

from pathlib import Path
from typing import Any

import pytest

from cv_search.purging import IN_INDEX
from cv_search.testing import Someone, World
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

WORD = "kvantefalkonering"


async def receipt(world: World, one: Someone) -> dict[str, Any]:
    body = {"personId": str(one.person_id), "cvId": str(one.cv_id)}
    answer = await world.operate("POST", "/internal/erasures/receipts", body)
    assert answer.status_code == 200, answer.text
    given: dict[str, Any] = answer.json()
    return given


async def erased(world: World, one: Someone) -> None:
    world.erase(one)
    for kind in ("citizens", "cvs"):
        await world.hear(kind, one)
    await world.indexed()


async def test_the_index_is_built_anew_after_an_erasure_and_the_receipt_waits_for_it(
    world: World, tmp_path: Path
) -> None:
    one, other = world.new(10_000_001, WORD), world.new(10_000_002, WORD)
    await world.told(one, other)
    before = {path.name for path in (tmp_path / "index").glob("index-*")}
    await erased(world, one)
    assert (await receipt(world, one))["left"].keys() <= {IN_INDEX}

    async def is_purged() -> None:
        assert (await receipt(world, one))["left"] == {}

    await eventually(is_purged)
    assert before.isdisjoint(path.name for path in (tmp_path / "index").glob("index-*"))
    assert await world.found(WORD) == [other.cv_number]
    given = await receipt(world, one)
    assert given["version"] == one.versions["citizens"]
    assert given["removed"] == {
        "citizen_parts": 1,
        "cv_parts": 1,
        "status_parts": 0,
        "search_documents": 1,
        "request_log": 0,
    }


async def test_the_searches_that_showed_the_erased_stay_and_are_counted(world: World) -> None:
    one = world.new(10_000_003, WORD)
    await world.told(one)
    assert await world.found(WORD) == [one.cv_number]
    await erased(world, one)
    assert (await receipt(world, one))["accessRows"] == 1
