"""Code lists are swapped while they are in use: whole, versioned, checked; a bad list is refused and the old ones stay."""

import shutil
from pathlib import Path

import pytest

from cv_contracts.codelists import DATA, BadCodeList, default
from cv_contracts.codelists.live import LiveCodeLists

LANGUAGES = "code,name\nda,Dansk\ntlh,Klingon\n"


@pytest.fixture
def live(tmp_path: Path) -> LiveCodeLists:
    shutil.copy(DATA / "languages.csv", tmp_path)
    return LiveCodeLists(tmp_path)


def test_whoever_holds_the_lists_sees_the_new_ones_after_the_swap(
    live: LiveCodeLists, tmp_path: Path
) -> None:
    held, version = live.lists, live.version
    assert not live.is_changed()
    (tmp_path / "languages.csv").write_text(LANGUAGES)
    assert live.is_changed()
    new = live.read()
    assert "tlh" not in held.languages
    live.swap(new)
    assert held.languages["tlh"] == "Klingon"
    assert held is live.lists
    assert held.municipalities == default().municipalities
    assert live.version != version
    assert not live.is_changed()


def test_the_same_files_are_the_same_version(live: LiveCodeLists, tmp_path: Path) -> None:
    assert LiveCodeLists(tmp_path).version == live.version == LiveCodeLists().version


def test_a_file_that_is_taken_away_gives_way_to_the_packages_own(tmp_path: Path) -> None:
    (tmp_path / "languages.csv").write_text(LANGUAGES)
    live = LiveCodeLists(tmp_path)
    (tmp_path / "languages.csv").unlink()
    assert live.is_changed()
    live.swap(live.read())
    assert live.lists.languages == default().languages


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("languages", "code,name\nda,Dansk\nda,Norsk\n", "languages.csv, line 3"),
        ("languages", "code,name\n", "holds no entry"),
        (
            "postal_codes",
            "code,city,latitude,longitude,municipality_code,kind\n1000,K,55,12,999,area\n",
            "line 2",
        ),
    ],
)
def test_a_bad_list_is_refused_by_name_and_the_old_ones_stay(
    live: LiveCodeLists, tmp_path: Path, name: str, text: str, said: str
) -> None:
    before, version = vars(live.lists), live.version
    (tmp_path / f"{name}.csv").write_text(text)
    with pytest.raises(BadCodeList, match=said):
        live.read()
    assert (vars(live.lists), live.version) == (before, version)
    assert not live.is_changed(), "a bad list is refused once, until it changes again"


def test_a_role_keeps_its_number_for_stored_rows_hold_it(live: LiveCodeLists, tmp_path: Path) -> None:
    rows = (DATA / "contact_data_types.csv").read_text().splitlines()
    moved = [row.replace("3,", "9,", 1) if row.startswith("3,") else row for row in rows]
    (tmp_path / "contact_data_types.csv").write_text("\n".join(moved) + "\n")
    with pytest.raises(BadCodeList, match="another number"):
        live.read()
