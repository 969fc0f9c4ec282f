"""Composition root of change-feed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from change_feed import api, internal
from change_feed.background import background
from change_feed.parts import assemble
from change_feed.settings import SERVICE, Settings
from cv_citizens.danish_time import Clock, utc_now
from servicekit.follow.operations import operator_routes
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.identity import ServiceVerifier


def create_app(settings: Settings, *, clock: Clock = utc_now) -> Routes:
    """Build the ASGI application; nothing is connected before its lifespan begins."""
    health = Health()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assemble(settings, clock) as parts, background(parts, health):
            app.state.parts = parts
            yield

    app = FastAPI(title=SERVICE, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    install(app, ServiceVerifier.from_settings(SERVICE, settings.identity))
    for router in (api.router, internal.router, operator_routes()):
        app.include_router(router)
    return Routes(app, settings.http, health)
