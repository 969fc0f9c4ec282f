"""The system that the tests of this folder share, and who calls it."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio
from tests.e2e.caller import Caller
from tests.e2e.system import System

from servicekit.web.tls import trusting

CITIZENS = 200
WITHOUT_A_SYSTEM = ("test_door.py", "test_history.py", "test_needles.py")
SYSTEMS_OF_THEIR_OWN = ("test_newcomer.py", "test_privacy.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those who start a system of their own come first: the shared one runs until the end of the run."""
    for item in items:
        if "tests/e2e" in item.path.as_posix() and item.path.name not in WITHOUT_A_SYSTEM:
            item.add_marker(pytest.mark.infra)
    items.sort(key=lambda item: item.path.name not in SYSTEMS_OF_THEIR_OWN)


def running(citizens: int, more: dict[str, str] | None = None) -> Iterator[System]:
    system = System(citizens, more)
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest.fixture(scope="session")
def one_system() -> Iterator[System]:
    yield from running(CITIZENS)


@pytest.fixture
def system(one_system: System) -> System:
    """Give the system of the run. Its parts may be killed: the next test finds all of them well again."""
    one_system.heal()
    return one_system


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(timeout=30, trust_env=False, verify=trusting(), limits=limits) as client:
        yield client


@pytest.fixture
def caller(system: System, http: httpx.AsyncClient) -> Caller:
    """Give Jobnet, calling the system of the run."""
    return Caller(system, http)
