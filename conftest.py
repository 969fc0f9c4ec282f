"""How the suite is collected and shared out over workers."""

import gc
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

END_TO_END = "tests/e2e/"
WITHOUT = re.compile(r"not \w+(?: and not \w+)*")
_last: list[pytest.Item] = []
MARKED_AS_A_WHOLE = re.compile(r"^pytestmark = (?:.|\n )+", re.MULTILINE)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out whole files, and the end-to-end tests as one: two systems at a time are too much for a small machine."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return END_TO_END if file.startswith(END_TO_END) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m "not infra and not slow"` do not even import a file whose `pytestmark` is one of these."""
    without = config.option.markexpr
    if collection_path.suffix != ".py" or not WITHOUT.fullmatch(without):
        return None
    marked = MARKED_AS_A_WHOLE.search(collection_path.read_text())
    names = set(re.findall(r"mark\.(\w+)", marked[0])) if marked else set()
    return True if names & set(re.findall(r"not (\w+)", without)) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Do not look again and again whether tests and modules are garbage: they stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_runtest_teardown(item: pytest.Item) -> None:
    _last[:] = [item]


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """Let what a file's tests have left open fail the last of them, not one of a file that comes later.

    What is there after a file stays for long: it is not looked at again before the end of the run.
    """
    yield
    # pytest still holds what the last test was given.
    _last[0].funcargs.clear()
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()
