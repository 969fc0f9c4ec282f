"""A service of its own process for the tests of the server: quick, slow and dying routes."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping

from fastapi import FastAPI

from servicekit.observe import logging
from servicekit.settings import HttpSettings, TelemetrySettings
from servicekit.web.health import Health
from servicekit.web.http import HotResponse, Routes, install
from servicekit.web.server import serve


def main() -> None:
    """Serve on the port that was given, with the other settings as JSON."""
    settings = HttpSettings.model_validate_json(sys.argv[1])
    logging.setup("drained", TelemetrySettings())
    health = Health()
    release, die, leaving = asyncio.Event(), asyncio.Event(), asyncio.Event()
    health.on_draining = leaving.set

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async def background() -> None:
            await die.wait()
            raise RuntimeError("Hansen")

        task = asyncio.create_task(background())
        health.watch("background", task)
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, RuntimeError):
            await task
        print('{"event": "lifespan_ended"}', flush=True)  # noqa: T201 - read by the test

    app = FastAPI(lifespan=lifespan)
    install(app)

    @app.get("/wait")
    async def wait() -> str:
        await release.wait()
        return "released"

    @app.get("/leaving")
    async def wait_for_the_end() -> str:
        await leaving.wait()
        return "leaving"

    @app.get("/release")
    async def let_go() -> None:
        release.set()

    @app.get("/die")
    async def dying() -> None:
        die.set()

    async def quick(_headers: Mapping[bytes, bytes], _query: bytes) -> HotResponse:
        await asyncio.sleep(0.001)
        return 200, [(b"content-type", b"text/plain")], b"quick"

    routes = Routes(app, settings, health)
    routes.add("GET", "/quick", quick)
    serve(routes, settings)


if __name__ == "__main__":
    main()
