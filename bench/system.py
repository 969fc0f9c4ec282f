"""The services as processes of their own, filled with citizens, for what is measured from outside."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx
import psutil
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measured import Servers, megabytes
from cv_contracts.topics import TOPICS
from cv_gateway.testing import AUDIENCE, ISSUER, Provider, call_headers
from cvhub.people import import_lines
from cvhub.servers.guard import guard
from servicekit.kafka_admin import ensure_topics
from servicekit.settings import KafkaSettings
from servicekit.testing import free_port
from servicekit.web.identity import ServiceSigner, load_private_key
from servicekit.web.testing import Identities

OWNERS = ("cv-registry", "cv-status")
READY_SECONDS = 90.0
IDENTITIES = (*OWNERS, "cv-search", "gateway", "citizen-intake")


@dataclass(slots=True)
class System:
    """Databases, keys and ports of one system; its processes start one by one and end with the `stack`."""

    servers: Servers
    folder: Path
    stack: AsyncExitStack
    dsn: dict[str, str]
    provider: Provider
    prefix: str
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in IDENTITIES})
    pids: dict[str, int] = field(default_factory=dict)
    patience: float = READY_SECONDS
    """How long a process may take to be ready."""

    @classmethod
    @asynccontextmanager
    async def prepared(cls, servers: Servers, name: str) -> AsyncIterator[Self]:
        """Make everything that the processes need; none of them runs yet."""
        folder = servers.folder / name
        folder.mkdir()
        Identities(folder, IDENTITIES)
        kafka = KafkaSettings(bootstrap_servers=servers.kafka.bootstrap_servers, topic_prefix=f"{name}.")
        await ensure_topics(kafka, TOPICS)
        provider = Provider()
        provider.add_key("ec", ec.generate_private_key(ec.SECP256R1()))
        await provider.start()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(provider.owner.stop)
            dsn = {owner: await servers.database() for owner in OWNERS}
            yield cls(servers, folder, stack, dsn, provider, f"{name}.")

    async def fill(self, citizens: int) -> list[dict[str, Any]]:
        """Import the first so many synthetic citizens; give the lines."""
        self.servers.say(f"{citizens:,} citizens: imported")
        file = self.folder / "citizens.ndjson"
        file.write_bytes(b"".join(import_lines(citizens)))
        importing = await self._begin(
            "-m", "cv_registry", "import", str(file), **self.surroundings("cv-registry")
        )
        if await importing.wait() != 0:
            raise RuntimeError(f"the import ended with {importing.returncode}")
        return [json.loads(line) for line in file.read_bytes().splitlines()]

    async def start_owners(self) -> None:
        """Start all owners at once: they follow each other, and each is ready once it has what it follows."""
        self.servers.say("the services start")
        processes = {
            name: await self._start("-m", name.replace("-", "_"), **self.surroundings(name))
            for name in OWNERS
        }
        for name, process in processes.items():
            await _ready(self.ports[name], process)
            self.pids[name] = process.pid

    async def start_gateway(self) -> None:
        owners = {
            f"OWNERS__{name.upper().replace('-', '_')}": f"http://127.0.0.1:{self.ports[name]}"
            for name in OWNERS
        }
        await self.start(
            "gateway",
            *("-m", "cv_gateway"),
            **owners,
            **self._identity("gateway"),
            TOKEN__ISSUER=ISSUER,
            TOKEN__AUDIENCE=AUDIENCE,
            TOKEN__JWKS_URL=self.provider.jwks_url,
        )

    async def start(self, name: str, *arguments: str, **environment: str) -> None:
        """Start a process and wait until it is ready on its port."""
        self.servers.say(f"{name} starts")
        process = await self._start(*arguments, **environment)
        await _ready(self.ports[name], process, self.patience)
        self.pids[name] = process.pid

    async def _start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        process = await self._begin(*arguments, **environment)
        self.stack.push_async_callback(_end, process)
        return process

    async def delivered(self) -> None:
        """Return when the registry's outbox is empty, so that nothing runs beside what is measured next."""
        self.servers.say("the outbox is sent")
        await self.until("cv-registry", "SELECT NOT EXISTS (SELECT FROM outbox)")

    async def until(self, owner: str, query: str) -> None:
        """Return when the query of the owner's database gives true."""
        connection = await asyncpg.connect(self.dsn[owner])
        async with asyncio.timeout(300):
            while not await connection.fetchval(query):  # noqa: ASYNC110 - asked of the database
                await asyncio.sleep(0.2)
        await connection.close()

    async def vacuumed(self) -> None:
        for dsn in self.dsn.values():
            connection = await asyncpg.connect(dsn)
            await connection.execute("VACUUM ANALYZE")
            await connection.close()

    def headers(self, organisation: Mapping[str, Any]) -> dict[str, str]:
        """Give the headers of a call for this organisation, without the citizen."""
        token = self.provider.token("ec", organisation=dict(organisation), may_act_as=[], exp=4_000_000_000)
        headers = call_headers(
            token,
            x_activeorganisation_type=str(organisation["type"]),
            x_activeorganisation_code=str(organisation["code"]),
        )
        return {name: value for name, value in headers.items() if name != "x-civilregistrationidentifier"}

    def signer(self, identity: str) -> ServiceSigner:
        return ServiceSigner(identity, load_private_key(self.folder / f"{identity}.pem"))

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def memory(self) -> str:
        """Say how much memory each process takes."""
        return ", ".join(f"{name} {megabytes(pid)} MB" for name, pid in self.pids.items())

    def processor_seconds(self) -> dict[str, float]:
        """Give how long each process has kept a processor busy, PostgreSQL with all its children."""
        postgres = self.servers.postgres.process
        pids = (
            self.pids
            if postgres is None or postgres.pid is None
            else {**self.pids, "PostgreSQL": postgres.pid}
        )
        return {name: _busy(pid) for name, pid in pids.items()}

    def surroundings(self, name: str) -> dict[str, str]:
        """Give the environment of a service with a database."""
        return {
            **self._identity(name),
            "POSTGRES__DSN": self.dsn[name],
            "KAFKA__BOOTSTRAP_SERVERS": self.servers.kafka.bootstrap_servers,
            "KAFKA__TOPIC_PREFIX": self.prefix,
            "REQUEST_SECRET": "only for this measurement",
            "REGISTRY_URL": self.url("cv-registry"),
            "STATUS_URL": self.url("cv-status"),
        }

    def _identity(self, name: str) -> dict[str, str]:
        return {
            "HTTP__PORT": str(self.ports[name]),
            "IDENTITY__KEY_FILE": str(self.folder / f"{name}.pem"),
            "IDENTITY__TRUSTED_FILE": str(self.folder / "trusted.json"),
        }

    async def _begin(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        kept = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ
        }
        with (self.folder / "processes.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                env={**kept, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        guard().watch(process.pid)
        return process


def _busy(pid: int) -> float:
    seconds = 0.0
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            seconds += sum(one.cpu_times()[:2])
    return seconds


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        await process.wait()
    guard().forget(process.pid)


async def _ready(port: int, process: asyncio.subprocess.Process, within: float = READY_SECONDS) -> None:
    async with asyncio.timeout(within), httpx.AsyncClient(trust_env=False) as client:
        while process.returncode is None:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/health/ready", timeout=5)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"a process ended with {process.returncode} before it was ready")
