"""Composition root of pdf-renderer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from pdf_renderer import internal
from pdf_renderer.background import background
from pdf_renderer.parts import assemble
from pdf_renderer.settings import SERVICE, Settings
from servicekit.follow.operations import operator_routes
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.identity import ServiceVerifier


def create_app(settings: Settings) -> Routes:
    """Build the ASGI application; nothing is connected before its lifespan begins."""
    health = Health()
    verifier = ServiceVerifier.from_settings(SERVICE, settings.identity)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assemble(settings) as parts, background(parts, health, settings.keep_current):
            app.state.parts = parts
            yield

    app = FastAPI(title=SERVICE, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    install(app, verifier)
    app.include_router(internal.router)
    app.include_router(operator_routes())
    return Routes(app, settings.http, health)
