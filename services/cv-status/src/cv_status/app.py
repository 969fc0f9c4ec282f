"""Composition root of cv-status."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from cv_citizens.danish_time import Clock, utc_now
from cv_status import api, internal
from cv_status.background import background
from cv_status.hot import GetCvStatus
from cv_status.parts import Parts, assemble
from cv_status.settings import SERVICE, Settings
from cv_status.store import StatusStates
from servicekit.follow.owner import hot_states
from servicekit.web.health import Health
from servicekit.web.http import HotResponse, Routes, install
from servicekit.web.identity import ServiceVerifier


def create_app(settings: Settings, *, clock: Clock = utc_now) -> Routes:
    """Build the ASGI application; nothing is connected before its lifespan begins."""
    health = Health()
    verifier = ServiceVerifier.from_settings(SERVICE, settings.identity)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assemble(settings, clock) as parts, background(parts, health):
            app.state.parts = parts
            app.state.get_cv_status = GetCvStatus(parts.reading, verifier)
            yield

    app = FastAPI(title=SERVICE, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    install(app, verifier)
    app.include_router(api.router)
    for router in (internal.router, internal.statuses, internal.operations, internal.erasures):
        app.include_router(router)
    routes = Routes(app, settings.http, health)

    async def get_cv_status(headers: Mapping[bytes, bytes], query: bytes) -> HotResponse:
        handler: GetCvStatus = app.state.get_cv_status
        return await handler(headers, query)

    def states() -> StatusStates:
        parts: Parts = app.state.parts
        return parts.states

    routes.add("GET", "/v6/Cv/cvstatus", get_cv_status)
    hot_states(routes, verifier, "/internal/statuses", states, internal.FOLLOWERS)
    return routes
