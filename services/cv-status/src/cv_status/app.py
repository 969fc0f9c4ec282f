"""Composition root of cv-status."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from cv_citizens.danish_time import Clock, utc_now
from cv_status import api, internal
from cv_status.background import background
from cv_status.hot import GetCvStatus
from cv_status.parts import assemble
from cv_status.settings import SERVICE, Settings
from servicekit.follow.operations import operator_routes
from servicekit.follow.state_routes import hot_states
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.identity import ServiceVerifier


def create_app(settings: Settings, *, clock: Clock = utc_now) -> Routes:
    """Build the ASGI application; nothing is connected before its lifespan begins."""
    health = Health()
    verifier = ServiceVerifier.from_settings(SERVICE, settings.identity)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assemble(settings, clock) as parts, background(parts, health):
            app.state.parts = parts
            routes.add("GET", "/v6/Cv/cvstatus", GetCvStatus(parts.reading, verifier))
            hot_states(routes, verifier, "/internal/statuses", parts.states, internal.FOLLOWERS)
            yield

    app = FastAPI(title=SERVICE, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    install(app, verifier)
    for router in (api.router, internal.router, internal.statuses, operator_routes()):
        app.include_router(router)
    routes = Routes(app, settings.http, health)
    return routes
