"""Internal routes answer those on their list only: never the gateway, which anybody can reach, and nobody without a token."""

import re
from collections.abc import Iterator
from importlib import import_module
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from tests.e2e.caller import fault
from tests.e2e.system import System

MODULES = (
    ("cv-registry", "cv_registry.internal"),
    ("cv-registry", "cv_registry.operating"),
    ("cv-status", "cv_status.internal"),
    ("contact-verification", "contact_verification.internal"),
    ("cv-search", "cv_search.internal"),
    ("pdf-renderer", "pdf_renderer.internal"),
    ("change-feed", "change_feed.internal"),
)
HOT = (("contact-verification", "POST", "/internal/contact-changes/prepare"),)
"""Routes that no router declares."""
SOMEBODY = str(UUID(int=1))


def _routes() -> Iterator[tuple[str, str, str]]:
    """Give every internal route that a service declares: service, verb, path."""
    for service, module in MODULES:
        app = FastAPI()
        for router in vars(import_module(module)).values():
            if isinstance(router, APIRouter):
                app.include_router(router)
        for path, verbs in app.openapi()["paths"].items():
            yield from ((service, verb.upper(), re.sub("{.*?}", SOMEBODY, path)) for verb in verbs)


ROUTES = sorted({*_routes(), *HOT})


def test_all_internal_routes_are_asked() -> None:
    assert {service for service, _, _ in ROUTES} == {service for service, _ in MODULES}
    assert all(path.startswith("/internal/") for _, _, path in ROUTES)


@pytest.mark.parametrize("service", sorted({service for service, _, _ in ROUTES}))
async def test_an_internal_route_is_for_those_on_its_list(
    system: System, http: httpx.AsyncClient, service: str
) -> None:
    other = "cv-status" if service == "cv-registry" else "cv-registry"
    signer = system.signer("gateway")
    refused = {
        "nobody": ({}, (401, 1012)),
        "the gateway": (_bearer(signer.token(service, None)), (403, 1013)),
        "who has a token for another service": (_bearer(signer.token(other, None)), (401, 1012)),
        "who has a token of the public interface": (_bearer(system.token("101:1")), (401, 1012)),
    }
    for _, verb, path in (route for route in ROUTES if route[0] == service):
        for who, (headers, expected) in refused.items():
            answer = await http.request(verb, system.url(service) + path, json={}, headers=headers)
            assert fault(answer) == expected, (verb, path, who)


async def test_nobody_reaches_an_internal_route_through_the_gateway(
    system: System, http: httpx.AsyncClient
) -> None:
    tokens = (system.token("101:1"), system.signer("operator").token("gateway", None))
    for verb, path in sorted({(verb, path) for _, verb, path in ROUTES}):
        for token in tokens:
            answer = await http.request(verb, system.url("gateway") + path, json={}, headers=_bearer(token))
            assert answer.status_code == 404, (verb, path)


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
