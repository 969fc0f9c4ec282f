"""Composition root of cv-registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from cv_citizens.danish_time import Clock, utc_now
from cv_registry import api, internal, operating
from cv_registry.background import background
from cv_registry.hot import GetCv, ReplaceCv
from cv_registry.parts import assemble
from cv_registry.settings import SERVICE, Settings
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
            routes.add("GET", "/v6/Cv", GetCv(parts.reading, verifier))
            routes.add("PUT", "/v6/Cv", ReplaceCv(parts.replacing, verifier))
            hot_states(routes, verifier, "/internal/citizens", parts.citizens, internal.CITIZEN_FOLLOWERS)
            hot_states(routes, verifier, "/internal/cvs", parts.cvs, internal.CV_FOLLOWERS)
            hot_states(
                routes, verifier, "/internal/cv-contacts", parts.cv_contacts, internal.CONTACT_FOLLOWERS
            )
            yield

    app = FastAPI(title=SERVICE, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    install(app, verifier)
    for router in (
        api.router,
        internal.router,
        internal.citizens,
        internal.cvs,
        internal.cv_contacts,
        operating.router,
        operator_routes(),
    ):
        app.include_router(router)
    routes = Routes(app, settings.http, health)
    return routes
