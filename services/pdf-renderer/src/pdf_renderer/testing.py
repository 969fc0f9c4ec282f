"""For tests: the registry and cv-status in one small HTTP server that does what a test asks, and the service beside it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from pdf_renderer.parts import Parts
from pdf_renderer.settings import Settings
from servicekit.web.identity import ServiceSigner
from servicekit.web.standin_testing import StandIn

__all__ = ["Make", "Owners", "Start", "World"]


@dataclass
class Owners(StandIn):
    """In the place of both owners."""

    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By version id: the body of a request for its document."""
    raw: dict[str, Any] | None = None
    """Answered in place of any document while set."""

    def __post_init__(self) -> None:
        super().__init__()

    def found(self, path: str, body: Any) -> dict[str, Any]:
        if path == "/internal/frozen-versions/document" and self.raw is not None:
            return self.raw
        if path == "/internal/frozen-versions/document":
            document = self.documents.get(body["versionId"])
            return {"erased": True} if document is None else {"document": document}
        unknown = ({"subject": subject, "unknown": True} for subject in body["subjects"])
        return {"states": [self.states.get(one["subject"], one) for one in unknown]}

    def freeze(self, cv_id: UUID, version_id: UUID, version: int, document: dict[str, Any]) -> None:
        """Let cv-status have a frozen version of a CV."""
        self.documents[str(version_id)] = document
        state = {"status": 3, "time": "2026-11-03T13:05:00+00:00", "versionId": str(version_id)}
        self.states[str(cv_id)] = {"subject": str(cv_id), "version": version, "state": state}

    def erase(self, subject: UUID, version: int) -> None:
        self.states[str(subject)] = {"subject": str(subject), "version": version, "erased": True}


@dataclass
class World:
    """The service under test, and what stands beside it."""

    client: httpx.AsyncClient
    parts: Parts
    owners: Owners
    signers: dict[str, ServiceSigner]

    async def ask(self, body: bytes, service: str = "cv-registry", **headers: str) -> httpx.Response:
        """Ask for a document as another service does."""
        token = self.signers[service].token("pdf-renderer")
        return await self.client.post(
            "/internal/documents", content=body, headers={"authorization": f"Bearer {token}", **headers}
        )

    async def stored(self) -> int:
        count: int = await self.parts.database.fetchval("select count(*) from documents")
        return count


Make = Callable[..., Settings]
Start = Callable[[Settings], AbstractAsyncContextManager[World]]
