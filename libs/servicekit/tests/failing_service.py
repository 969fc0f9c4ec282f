"""A service of its own process that fails somewhere, for the tests of what its log then says."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from fastapi import FastAPI

from cv_contracts.codelists import BadCodeList
from servicekit.data.migrating import MigrationChanged
from servicekit.observe import logging
from servicekit.settings import HttpSettings, TelemetrySettings
from servicekit.web.health import Health
from servicekit.web.http import Routes
from servicekit.web.server import serve


def of_ours() -> None:
    raise BadCodeList(Path("languages.csv"), 7, "code is not a number")


def of_the_system() -> None:
    Path("/nowhere/key.pem").read_text(encoding="utf-8")


def of_somebody() -> None:
    raise ValueError("Hansen")


def migration() -> None:
    raise MigrationChanged("0001_init.sql differs")


FAULTS: dict[str, Callable[[], None]] = {
    one.__name__: one for one in (of_ours, of_the_system, of_somebody, migration)
}


def main() -> None:
    """Fail where the first argument says, as the second says."""
    where, fault = sys.argv[1], FAULTS[sys.argv[2]]
    logging.setup("failing", TelemetrySettings())
    if where == "program":
        fault()
    if where == "thread":
        thread = threading.Thread(target=fault)
        thread.start()
        thread.join()
        return
    settings = HttpSettings(port=0)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if where == "startup":
            fault()
        asyncio.get_running_loop().call_later(0.2, server_leaves)
        yield
        fault()

    def server_leaves() -> None:
        assert health.on_death is not None
        health.on_death()

    health = Health()
    serve(Routes(FastAPI(lifespan=lifespan), settings, health), settings, health)


if __name__ == "__main__":
    main()
