"""Contact-verification for tests of the registry: a stand-in that prepares what a ReplaceCV brings."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from cv_contracts.faults import Fault, FieldError
from cv_registry.settings import SERVICE
from servicekit.follow.owner_testing import serving, without_ledger
from servicekit.follow.state_routes import OwnedState, Versions, hot_states, state_routes
from servicekit.settings import HttpSettings, IdentitySettings
from servicekit.testing import free_port
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.identity import ServiceVerifier


@dataclass
class ContactOwner:
    """In the place of contact-verification: it prepares whatever comes, or answers as it is told."""

    port: int = field(default_factory=free_port)
    asked: list[dict[str, Any]] = field(default_factory=list)
    prepared: list[dict[str, Any]] = field(default_factory=list)
    mode: str = "ok"
    fault: int | None = None
    errors: tuple[FieldError, ...] = ()
    meanwhile: Callable[[], Awaitable[Any]] | None = None
    """What happens once between the preparing of a change and the answer that tells of it."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def versions(self) -> Versions:
        return without_ledger()

    async def states(self, _subjects: Sequence[UUID]) -> list[OwnedState]:
        return []

    async def page(self, _after: UUID, _limit: int) -> list[OwnedState]:
        return []

    async def prepare(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        if self.mode == "slow":
            await asyncio.sleep(30)
        if self.mode == "garbage":
            return JSONResponse({"prepareId": 1})
        if self.mode == "error":
            return JSONResponse({}, 500)
        if self.fault is not None:
            raise Fault(self.fault, self.errors)
        information = body["contactInformation"]
        phones = zip(("1", "2"), information.get("PhoneNumber", []), strict=False)
        values = {kind: phone for kind, phone in phones if phone}
        if "E-mail" in information:
            values["3"] = information["E-mail"]
        prepare_id = None if self.mode == "unchanged" else str(uuid4())
        answer = {"prepareId": prepare_id, "version": 1_000 + len(self.prepared), "values": values}
        self.prepared.append(answer)
        if self.meanwhile is not None:
            change, self.meanwhile = self.meanwhile, None
            await change()
        return JSONResponse(answer)

    @asynccontextmanager
    async def serving(self, identity: IdentitySettings) -> AsyncIterator[None]:
        app = FastAPI(openapi_url=None)
        verifier = ServiceVerifier.from_settings("contact-verification", identity)
        install(app, verifier)

        def source(_request: Request) -> ContactOwner:
            return self

        app.include_router(state_routes("/internal/contacts", source, [SERVICE]))
        app.add_api_route("/internal/contact-changes/prepare", self.prepare, methods=["POST"])
        routes = Routes(app, HttpSettings(), Health())
        hot_states(routes, verifier, "/internal/contacts", self, [SERVICE])
        async with serving(routes, self.port):
            yield
