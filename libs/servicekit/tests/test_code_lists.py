"""A service takes up other code lists while it runs; a bad list is refused aloud and the old ones stay."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from servicekit.code_lists import CodeListWatch

LANGUAGES = "code,name\nda,Dansk\ntlh,Klingon\n"


@pytest.fixture
def swaps() -> list[str]:
    return []


@pytest.fixture
def watch(tmp_path: Path, swaps: list[str]) -> CodeListWatch:
    watch = CodeListWatch(tmp_path)

    async def swapped() -> None:
        swaps.append(watch.lists.languages.get("tlh", ""))

    watch.after_swap(swapped)
    return watch


async def test_new_lists_are_taken_up_and_whoever_made_something_of_the_old_ones_is_told(
    watch: CodeListWatch, swaps: list[str], tmp_path: Path
) -> None:
    held, before = watch.lists, await watch.standing()
    await watch.look()
    assert swaps == []
    (tmp_path / "languages.csv").write_text(LANGUAGES)
    await watch.look()
    await watch.look()
    assert held.languages["tlh"] == "Klingon"
    assert swaps == ["Klingon"], "told once, and after the swap"
    after = await watch.standing()
    assert after["version"] != before["version"]
    assert after["refused"] is False


async def test_a_bad_list_is_refused_once_and_aloud_until_it_is_mended(
    watch: CodeListWatch, swaps: list[str], tmp_path: Path
) -> None:
    before = await watch.standing()
    (tmp_path / "languages.csv").write_text("code,name\nda,Dansk\nda,Norsk\n")
    with capture_logs() as logs:
        await watch.look()
        await watch.look()
    assert [(line["event"], line["reason"].partition(":")[0]) for line in logs] == [
        ("code_lists_refused", "languages.csv, line 3")
    ]
    assert await watch.standing() == {**before, "refused": True}
    assert swaps == []
    (tmp_path / "languages.csv").write_text(LANGUAGES)
    await watch.look()
    assert (await watch.standing())["refused"] is False
    assert watch.lists.languages["tlh"] == "Klingon"


async def test_without_a_folder_nothing_ever_changes() -> None:
    watch = CodeListWatch(None)
    before = await watch.standing()
    await watch.look()
    assert await watch.standing() == before
