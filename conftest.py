"""How the suite is shared out over workers: a file stays together, and so do all that start the whole system."""

import pytest
from xdist.scheduler import LoadScopeScheduling

END_TO_END = "tests/e2e/"


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out whole files, and the end-to-end tests as one: two systems at a time are too much for a small machine."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return END_TO_END if file.startswith(END_TO_END) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)
