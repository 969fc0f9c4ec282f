"""The whole local stack as real processes, in a state folder of its own, with every part within a drill's reach."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from rich.console import Console

from cvhub.filling import fill
from cvhub.idp.__main__ import client_secret
from cvhub.idp.client import fetch_token
from cvhub.keys import key_file
from cvhub.ports import DEFAULT_PORTS
from cvhub.servers.guard import guard
from cvhub.servers.kafka import takes_part
from cvhub.servers.postgres import PostgresServer
from cvhub.servers.process import ServerProcess
from cvhub.services import SERVICES, Service
from cvhub.stack import Stack
from cvhub.state import State
from cvhub.steps import Steps
from servicekit.testing import free_port
from servicekit.web.identity import ServiceSigner, load_private_key
from servicekit.web.tls import trusting

REGISTRY = "cv-registry"
HEALTHY_SECONDS = 60.0
TOKEN_SECONDS = 1800.0
"""How long a token is used: half of what the identity provider gives it."""
ALL_SCOPES = (
    "cv.read cv.account cv.status cv.search cv.changes cv.write contact.write contact.verify contact.lookup"
)


class DrilledStack(Stack):
    """The stack that `cvhub up` runs, with more settings for its services."""

    def __init__(
        self, state: State, more: Mapping[str, str], brokers: int = 1, **of_service: Mapping[str, str]
    ) -> None:
        ports = {name: free_port() for name in DEFAULT_PORTS}
        super().__init__(state, ports, Steps(Console(file=StringIO())), brokers)
        self._more = dict(more)
        self.of_service: dict[str, Mapping[str, str]] = dict(of_service)

    def environment(self, service: Service) -> dict[str, str]:
        return super().environment(service) | self._more | dict(self.of_service.get(service.name, {}))


@dataclass(frozen=True)
class Twin:
    """One more instance of a service, on a port of its own."""

    process: ServerProcess
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(lambda: _ready(f"{self.url}/health/ready"), seconds=HEALTHY_SECONDS)


class System:
    """A running system. Its parts are named as the stack names them: cv-registry, gateway, idp, Kafka, PostgreSQL."""

    def __init__(
        self,
        citizens: int,
        more: Mapping[str, str] | None = None,
        stack: Callable[[State, Mapping[str, str]], DrilledStack] = DrilledStack,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cvhub-e2e-"))
        guard().remove_at_end(self.folder)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.state = State(self.folder / "state")
        self.state.prepare()
        settings = {"LIMITS__BY_NUMBER": "1000000", "TMPDIR": str(self.temporary), **(more or {})}
        self.stack = stack(self.state, settings)
        self._citizens = citizens
        self._tokens: dict[tuple[str, str, str | None, str | None], tuple[str, float]] = {}
        self._twins: list[ServerProcess] = []

    def start(self) -> None:
        self.stack.start()
        fill(self.stack, Steps(Console(file=StringIO())), self._citizens)

    def stop(self) -> None:
        for twin in self._twins:
            twin.stop()
        self.stack.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self.stack.ports[part]}"

    @property
    def logs(self) -> list[Path]:
        return sorted(self.state.logs.iterdir())

    def process(self, part: str) -> ServerProcess:
        for kept in self.stack.supervisor._kept:
            if kept.process.name == part:
                return kept.process
        raise KeyError(part)

    @property
    def postgres(self) -> PostgresServer:
        server = self.stack._own_postgres
        if server is None:
            raise LookupError("a drill needs a PostgreSQL of its own: run it without CVHUB_POSTGRES")
        return server

    def kill(self, part: str) -> None:
        """`kill -9`. PostgreSQL's children are waited for, else no new server may start."""
        if part == "PostgreSQL":
            self.postgres.kill()
        else:
            self.process(part).kill()

    def terminate(self, part: str) -> None:
        """Stop it as an operator would, and wait for its end."""
        self.process(part).stop()

    def send(self, part: str, number: signal.Signals) -> None:
        pid = self.process(part).pid
        if pid is not None:
            os.kill(pid, number)

    def revive(self, part: str) -> None:
        """Start what was killed or stopped, and wait until it is ready."""
        self.process(part).start()
        self._wait_for(part)

    def _wait_for(self, part: str) -> None:
        process = self.process(part)
        if part == "PostgreSQL":
            process.wait_until(self.postgres._ready, seconds=HEALTHY_SECONDS)
        elif part.startswith("Kafka"):
            port = self.stack.ports[part.lower().replace(" ", "-")]
            process.wait_until(lambda: takes_part(port), seconds=HEALTHY_SECONDS)
        else:
            url = f"{self.url(part)}/health/ready"
            process.wait_until(lambda: _ready(url), seconds=HEALTHY_SECONDS)

    def heal(self) -> None:
        """Start whatever does not run: servers in the order in which they need each other, then all others at once."""
        self.end_twins()
        gone = [kept.process.name for kept in self.stack.supervisor._kept if not kept.process.running]
        servers = [part for part in gone if part.startswith(("PostgreSQL", "Kafka"))]
        others = [part for part in gone if part not in servers]
        for part in servers:
            self.revive(part)
        for part in others:
            self.process(part).start()
        for part in others:
            self._wait_for(part)

    def twin(self, part: str, **more: str) -> "Twin":
        """Start another instance of a service beside the first, with more settings if need be."""
        service = next(service for service in SERVICES if service.name == part)
        port = free_port()
        process = ServerProcess(
            f"{part}-twin",
            service.command,
            log=self.state.logs / f"{part}-twin-{port}.log",
            env={**os.environ, **self.stack.environment(service), **more, "HTTP__PORT": str(port)},
        )
        self._twins.append(process)
        twin = Twin(process, port)
        twin.start()
        return twin

    def end_twins(self) -> None:
        while self._twins:
            self._twins.pop().stop()

    def dsn(self, service: str = REGISTRY) -> str:
        return self.stack.environment(next(s for s in SERVICES if s.name == service))["POSTGRES__DSN"]

    async def rows(self, query: str, *args: Any, service: str = REGISTRY) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn(service), timeout=10)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()

    async def value(self, query: str, *args: Any, service: str = REGISTRY) -> Any:
        return (await self.rows(query, *args, service=service))[0][0]

    async def as_superuser(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.postgres.dsn, timeout=10)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def dump(self, database: str, file: Path) -> None:
        """Write a back-up while the service goes on, as an operator would."""
        dsn = self.postgres.dsn.rpartition("/")[0] + f"/{database}"
        _program("pg_dump", "--format=custom", f"--file={file}", dsn)

    def restore(self, database: str, file: Path) -> None:
        """Put the back-up in the place of what is there now; nothing may be connected."""
        server = self.postgres.dsn.rpartition("/")[0]
        _program("pg_restore", "--clean", "--create", "--exit-on-error", f"--dbname={server}/postgres", file)

    def token(
        self,
        organisation: str,
        scopes: str = ALL_SCOPES,
        own: str | None = None,
        client: str | None = None,
    ) -> str:
        """Give a token that is good for a while yet."""
        key, now = (organisation, scopes, own, client), time.monotonic()
        token, fetched = self._tokens.get(key, ("", -TOKEN_SECONDS))
        if now - fetched >= TOKEN_SECONDS:
            secret = client_secret(self.state.idp)
            token = fetch_token(
                self.url("idp"),
                secret,
                organisations=[organisation],
                scopes=scopes.split(),
                own=own,
                client=client,
            )
            self._tokens[key] = (token, now)
        return token

    def operator_environment(self) -> dict[str, str]:
        """Give what the operator's commands must be told to find this system."""
        urls = {service.name: self.url(service.name) for service in SERVICES}
        return {
            "CVHUB_SERVICES": json.dumps(urls),
            "CVHUB_OPERATOR_KEY": str(key_file(self.state.keys, "operator")),
        }

    def signer(self, service: str) -> ServiceSigner:
        """Sign calls of internal routes as this service would."""
        return ServiceSigner(service, load_private_key(key_file(self.state.keys, service)))


def _program(name: str, *arguments: str | Path) -> None:
    from cvhub.servers.postgres import _program as path_of  # noqa: PLC0415

    done = subprocess.run([path_of(name), *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr[:500]}")


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False, verify=trusting()).status_code == 200
    except httpx.HTTPError:
        return False


def main() -> None:
    """Run a system until Enter, to look around: `python -m tests.e2e.system`."""
    system = System(100)
    started = time.monotonic()
    try:
        system.start()
        print(f"{time.monotonic() - started:.1f} s, {system.url('gateway')}", file=sys.stderr)  # noqa: T201
        input()
    finally:
        system.stop()


if __name__ == "__main__":
    main()
