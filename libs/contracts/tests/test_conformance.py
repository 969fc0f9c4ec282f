"""The page of what is covered is current, and believes no line of covered.csv that is not so."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
TREE = {
    "services/cv-status/tests/test_a.py": (
        "CODES = (8291, 4511)\n"
        "def test_asserts(): assert CODES\n"
        "def test_says_nothing(): print(4102)\n"
        "def test_counts(): assert 1\n"
    ),
    "services/cv-search/tests/test_b.py": "def test_elsewhere(): assert 4102\n",
}


@pytest.fixture
def conformance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance", ROOT / "tools" / "conformance.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return module


def covering(conformance: ModuleType, root: Path, line: str) -> dict[tuple[int, int], list[str]]:
    vars(conformance).update(ROOT=root, CONTRACT=root)
    (root / "covered.csv").write_text(f"test,methods,faults\n{line}\n")
    covered: dict[tuple[int, int], list[str]] = conformance.coverage()
    return covered


def test_the_committed_page_is_current(conformance: ModuleType) -> None:
    assert conformance.page() == (ROOT / "docs" / "conformance.md").read_text("utf-8")


def test_a_test_that_asserts_and_names_the_faults_covers_them(
    conformance: ModuleType, tmp_path: Path
) -> None:
    test = "services/cv-status/tests/test_a.py::test_asserts"
    assert covering(conformance, tmp_path, f"{test},6,8291 4511") == {(6, 8291): [test], (6, 4511): [test]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("services/cv-status/tests/test_a.py::test_gone,6,8291", "there is no"),
        ("services/cv-status/tests/gone.py::test_asserts,6,8291", "there is no"),
        ("services/cv-status/tests/test_a.py::test_says_nothing,6,4102", "asserts nothing"),
        ("services/cv-status/tests/test_a.py::test_counts,6,4102", "does not name"),
        ("services/cv-status/tests/test_a.py::test_asserts,6,8291 8292", "does not name"),
        ("services/cv-search/tests/test_b.py::test_elsewhere,6,4102", "does not belong"),
        ("services/cv-search/tests/test_b.py::test_elsewhere,5,4102", "never answers"),
    ],
)
def test_a_line_that_is_not_so_is_refused(
    conformance: ModuleType, tmp_path: Path, line: str, reason: str
) -> None:
    with pytest.raises(conformance.NotCovered, match=reason):
        covering(conformance, tmp_path, line)
