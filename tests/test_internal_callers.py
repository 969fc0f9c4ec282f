"""Who may call which internal route: every route of every service, with the key of everybody who has one, against one table."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from tests.unconnected import unconnected

from cvhub.services import IDENTITIES, SERVICES, Service
from servicekit.web.http import Routes
from servicekit.web.testing import Identities, in_process

pytestmark = pytest.mark.slow

Names = frozenset[str]
KNOWN: Final = frozenset({*(service.name for service in SERVICES), *IDENTITIES, "stranger"})
OPERATOR: Final = frozenset({"operator"})
FOR_THE_OPERATOR: Final = ("/internal/operations/", "/internal/erasures")
"""Where these begin, only the operator may."""


def of(*names: str) -> Names:
    assert set(names) <= KNOWN
    return frozenset(names)


def followed(path: str, allowed: Names, whole: Names) -> dict[str, Names]:
    """Give the routes of one kind of state: `whole` may go over all of it, the others ask by id."""
    return {
        f"{path}/states": allowed,
        **{f"{path}/{name}": whole for name in ("snapshot", "ranges", "versions")},
    }


REPLICAS: Final = of("cv-status", "contact-verification", "cv-search", "change-feed")
CVS: Final = of("cv-search", "change-feed")
STATUSES: Final = of("cv-registry", "cv-search")
CONTACTS: Final = of("contact-verification")

CALLERS: Final[Mapping[str, Mapping[str, Names]]] = {
    "cv-registry": {
        **followed("/internal/citizens", REPLICAS | of("pdf-renderer"), REPLICAS),
        **followed("/internal/cvs", CVS, CVS),
        **followed("/internal/cv-contacts", CONTACTS, CONTACTS),
        "/internal/citizens": of("citizen-intake"),
        "/internal/citizens/merge": of("citizen-intake"),
        "/internal/citizens/lookup": of("cv-status", "contact-verification"),
        "/internal/cvs/state": of("citizen-intake", "operator"),
        "/internal/cvs/content": of("cv-status"),
        "/internal/cv-contacts/settle": CONTACTS,
        "/internal/jobnet-accounts/login": of("jobnet-login"),
    },
    "cv-status": {
        **followed("/internal/statuses", STATUSES | of("pdf-renderer"), STATUSES),
        "/internal/frozen-versions/document": of("pdf-renderer"),
    },
    "contact-verification": {
        **followed("/internal/contacts", of("cv-registry"), of("cv-registry")),
        "/internal/contact-changes/prepare": of("cv-registry"),
        "/internal/bounces": OPERATOR,
        "/internal/subscriptions": OPERATOR,
    },
    "pdf-renderer": {"/internal/documents": of("cv-registry", "cv-status")},
    "cv-search": {},
    "change-feed": {},
}
WITH_ROUTES: Final = [service for service in SERVICES if service.migrations]


class Nothing:
    """The parts of a service, each of them None."""

    def __getattr__(self, _name: str) -> None:
        return None


@asynccontextmanager
async def nothing(*_given: object) -> AsyncIterator[Nothing]:
    yield Nothing()


@pytest_asyncio.fixture
async def built(
    service: Service, identities: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Routes]:
    """Run a service that is connected to nothing: who is let in gets some other fault."""
    settings = unconnected(service, identities.settings(service.name), tmp_path)
    module = import_module(f"{service.module}.app")
    for connecting in ("assemble", "background"):
        monkeypatch.setattr(module, connecting, nothing)
    routes: Routes = module.create_app(settings)
    async with in_process(routes):
        yield routes


def internal_routes(built: Routes) -> set[tuple[str, str]]:
    """Give verb and path of all, those without a framework around them too."""
    app: Any = built._app
    declared = {(verb.upper(), path) for path, verbs in app.openapi()["paths"].items() for verb in verbs}
    return {(verb, path) for verb, path in {*declared, *built._hot} if path.startswith("/internal")}


@pytest.mark.parametrize("service", [pytest.param(one, id=one.name) for one in WITH_ROUTES])
async def test_an_internal_route_lets_in_those_of_the_table_and_nobody_else(
    service: Service, built: Routes, identities: Identities
) -> None:
    listed, routes = CALLERS[service.name], internal_routes(built)
    named = {path for _, path in routes if not path.startswith(FOR_THE_OPERATOR)}
    assert named == set(listed)
    assert {path for _, path in routes} > named, "every service has something for the operator"
    bearers = {
        who: {"authorization": f"Bearer {identities.signers[who].token(service.name, None)}"} for who in KNOWN
    }
    transport = httpx.ASGITransport(built)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        for verb, path in sorted(routes):
            asked = re.sub("{.*?}", str(UUID(int=1)), path)
            with capture_logs():
                let_in = {who for who in KNOWN if await _is_let_in(client, verb, asked, bearers[who])}
            assert let_in == listed.get(path, OPERATOR), (verb, path)


async def _is_let_in(client: httpx.AsyncClient, verb: str, path: str, headers: dict[str, str]) -> bool:
    answer = await client.request(verb, path, json={}, headers=headers)
    assert answer.status_code not in (401, 404, 405)
    return (answer.status_code, answer.json().get("code")) != (403, 1013)
