"""Composition root of cv-search."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from cv_citizens.danish_time import Clock, utc_now
from cv_search import api, internal
from cv_search.background import background
from cv_search.parts import assemble
from cv_search.settings import SERVICE, Settings
from servicekit.follow.operations import operator_routes
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.identity import ServiceVerifier


def create_app(settings: Settings, *, clock: Clock = utc_now) -> Routes:
    """Build the ASGI application; nothing is connected before its lifespan begins."""
    health = Health()
    verifier = ServiceVerifier.from_settings(SERVICE, settings.identity)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assemble(settings, clock) as parts, background(parts, settings.role, health):
            app.state.parts = parts
            yield

    app = FastAPI(title=SERVICE, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    install(app, verifier)
    if settings.role.searches:
        app.include_router(api.router)
    if settings.role.writes:
        app.include_router(internal.router)
        app.include_router(operator_routes())
    return Routes(app, settings.http, health)
