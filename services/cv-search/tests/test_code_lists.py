"""Other code lists are taken up while the service searches: names, synonyms, documents and the index, without a restart."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from cv_contracts.codelists import DATA
from cv_search.settings import Settings
from cv_search.testing import World
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

Start = Callable[[Settings], AbstractAsyncContextManager[World]]
NURSE = "Sygeplejerske"


def changed(folder: Path, name: str, row: str, new: Callable[[str], str]) -> None:
    """Put a list into the folder in which one row, known by a part of it, is another."""
    lines = (DATA / f"{name}.csv").read_text().splitlines()
    [old] = [line for line in lines if row in line]
    partial = folder / f"{name}.partial"
    partial.write_text("\n".join(new(line) if line == old else line for line in lines) + "\n")
    partial.replace(folder / f"{name}.csv")


async def test_new_names_and_new_synonyms_are_searched_without_a_restart(
    settings: Settings, start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    async with start(settings.model_copy(update={"code_lists": folder})) as world:
        await eventually(lambda: world.parts.indexer.serving)
        one = world.new(10000000)
        await world.told(one)

        async def shown(text: str) -> list[str]:
            persons = (await world.search(text)).json()["SearchCVTextResult"]["CVPersons"]
            return [person["Municipality"]["MunicipalityName"] for person in persons]

        assert await shown(NURSE) == ["København"]
        assert await shown("blodkyndig") == []
        changed(folder, "municipalities", "101,", lambda row: row.replace("København", "Hafnia", 1))
        await eventually(lambda: _is(shown(NURSE), ["Hafnia"]))
        rebuilds = world.parts.indexer.progress.rebuilds
        changed(
            folder, "occupations", f",{NURSE},", lambda row: row.replace(",2221,", ",2221,blodkyndig|", 1)
        )
        await eventually(lambda: _is(shown("blodkyndig"), ["Hafnia"]))
        await eventually(lambda: world.parts.indexer.progress.rebuilds == rebuilds + 1)
        assert await shown("blodkyndig") == ["Hafnia"]
        assert await shown(NURSE) == ["Hafnia"]


async def _is(given: Awaitable[list[str]], expected: list[str]) -> None:
    assert await given == expected
