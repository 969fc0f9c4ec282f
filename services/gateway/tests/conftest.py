"""A gateway over TCP with its provider and a registry that does what a test asks of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cv_gateway.app import Gateway, create_app
from cv_gateway.settings import Settings
from cv_gateway.testing import AUDIENCE, ISSUER, Provider, serving
from servicekit.web.identity import ServiceVerifier, generate_key, public_key
from servicekit.web.tls import trusting
from servicekit.web.upstream_testing import ScriptedOwner

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())

Start = Callable[..., AbstractAsyncContextManager[tuple[Gateway, httpx.AsyncClient]]]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    provider.add_key("rsa", RSA_KEY)
    provider.add_key("ec", EC_KEY)
    await provider.start()
    yield provider
    await provider.owner.stop()


@pytest.fixture
async def registry() -> AsyncIterator[ScriptedOwner]:
    owner = ScriptedOwner()
    await owner.start()
    yield owner
    await owner.stop()


@pytest.fixture(scope="session")
def key_pair() -> tuple[bytes, str]:
    return generate_key()


@pytest.fixture
def verifier(key_pair: tuple[bytes, str]) -> ServiceVerifier:
    return ServiceVerifier("cv-registry", {"gateway": public_key(key_pair[1])})


@pytest.fixture
def settings(
    provider: Provider, registry: ScriptedOwner, key_pair: tuple[bytes, str], tmp_path: Path
) -> Callable[..., Settings]:
    key_file = tmp_path / "gateway.pem"
    key_file.write_bytes(key_pair[0])

    def make(**changed: Any) -> Settings:
        parts: dict[str, Any] = {
            "identity": {"key_file": key_file, "trusted_file": tmp_path / "trusted.json"},
            "token": {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": provider.jwks_url},
            "owners": {"cv-registry": registry.url},
        }
        return Settings(**{**parts, **changed})

    return make


@pytest.fixture
def start(settings: Callable[..., Settings]) -> Start:
    @asynccontextmanager
    async def start(**changed: Any) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
        gateway = create_app(settings(**changed))
        async with (
            serving(gateway) as url,
            httpx.AsyncClient(verify=trusting(), base_url=url, timeout=10) as client,
        ):
            yield gateway, client

    return start


@pytest.fixture
async def client(start: Start) -> AsyncIterator[httpx.AsyncClient]:
    async with start() as (_, client):
        yield client
