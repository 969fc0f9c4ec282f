"""Composition root of contact-verification."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from contact_verification import api, internal
from contact_verification.background import background
from contact_verification.parts import assemble
from contact_verification.settings import SERVICE, Settings
from contact_verification.states import FOLLOWERS
from cv_citizens.danish_time import Clock, utc_now
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
        async with assemble(settings, clock) as parts, background(parts, settings, health):
            app.state.parts = parts
            routes.add("POST", internal.PREPARE, internal.Prepare(parts.prepares, verifier))
            hot_states(routes, verifier, "/internal/contacts", parts.states, FOLLOWERS)
            yield

    app = FastAPI(title=SERVICE, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    install(app, verifier)
    for router in (api.router, internal.router, internal.contact_states, operator_routes()):
        app.include_router(router)
    routes = Routes(app, settings.http, health)
    return routes
