"""For tests of services: one of them in this process, and the keys by which services know each other, in files as deployed."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from servicekit.settings import IdentitySettings
from servicekit.web.http import Routes
from servicekit.web.identity import (
    ServiceSigner,
    ServiceVerifier,
    generate_key,
    load_private_key,
    load_trusted,
)

__all__ = ["Identities", "in_process"]


class Identities:
    """A key for each of some services, who all trust each other."""

    def __init__(self, folder: Path, services: Iterable[str]) -> None:
        self._folder = folder
        self.signers: dict[str, ServiceSigner] = {}
        trusted = {}
        for service in services:
            pem, trusted[service] = generate_key()
            self.key_file(service).write_bytes(pem)
            self.signers[service] = ServiceSigner(service, load_private_key(self.key_file(service)))
        self.trusted_file.write_text(json.dumps(trusted))

    def verifier(self, service: str) -> ServiceVerifier:
        """Give what one of them verifies the others' tokens with."""
        return ServiceVerifier(service, load_trusted(self.trusted_file))

    @property
    def trusted_file(self) -> Path:
        return self._folder / "trusted.json"

    def key_file(self, service: str) -> Path:
        return self._folder / f"{service}.pem"

    def settings(self, service: str) -> IdentitySettings:
        """Give the settings of one of them."""
        return IdentitySettings(key_file=self.key_file(service), trusted_file=self.trusted_file)

    def environment(self, service: str) -> dict[str, str]:
        """Give the same for a process."""
        return {
            "IDENTITY__KEY_FILE": str(self.key_file(service)),
            "IDENTITY__TRUSTED_FILE": str(self.trusted_file),
        }


@asynccontextmanager
async def in_process(routes: Routes) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """Run a service without a socket; give a client that calls it, and the service's parts."""
    app: Any = routes._app  # noqa: SLF001 - a deployed one is reached by its routes only
    transport = httpx.ASGITransport(app=routes)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service", timeout=60) as client,
    ):
        yield client, app.state.parts
