"""Starts the whole system on this machine, step by step, and stops it in the opposite order."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import httpx
from aiokafka.errors import KafkaError

from cv_contracts.errors import Misconfigured
from cv_contracts.topics import TOPICS
from cvhub.idp.__main__ import client_secret
from cvhub.keys import ensure_keys
from cvhub.ports import broker_ports, check_free
from cvhub.servers.kafka import KafkaPorts
from cvhub.servers.kafka_cluster import KafkaCluster
from cvhub.servers.postgres import PostgresServer, ensure_role_and_database
from cvhub.servers.process import CannotStart, ServerProcess
from cvhub.services import IDENTITIES, SERVICES, SINKS, Service, Surroundings, environment
from cvhub.sinks.__main__ import PASSWORD
from cvhub.sinks.certificate import ensure_certificate
from cvhub.state import Run, State
from cvhub.steps import Steps
from cvhub.supervisor import Supervisor
from servicekit.data.postgres import migrate
from servicekit.kafka_admin import ensure_topics
from servicekit.settings import KafkaSettings
from servicekit.web.tls import trusting

POSTGRES, KAFKA = "CVHUB_POSTGRES", "CVHUB_KAFKA"
WRITTEN = {POSTGRES: "postgresql://postgres:PASSWORD@HOST:5432/postgres", KAFKA: "HOST:9092"}
HEALTHY_SECONDS = 60.0
LOG_BYTES = 20_000_000
GIVES_WAY = 3
"""How nice the services are to the gateway, which can turn away what they cannot do only while it gets on itself."""


class Stack:
    """PostgreSQL, Kafka, the identity provider and the services of the table, as processes of this machine.

    CVHUB_POSTGRES (a superuser's DSN) and CVHUB_KAFKA (bootstrap servers) name existing servers to use instead.
    """

    def __init__(self, state: State, ports: Mapping[str, int], steps: Steps, brokers: int = 1) -> None:
        self.state = state
        self.ports = dict(ports)
        self._steps = steps
        self._own_kafka = _own_kafka(state, ports, brokers)
        self._own_postgres = _own_postgres(state, ports)
        self.supervisor = Supervisor(
            lambda text: steps.console.print(f"[yellow]![/] {text}", highlight=False)
        )

    @property
    def bootstrap_servers(self) -> str:
        if self._own_kafka:
            return self._own_kafka.bootstrap_servers
        return os.environ[KAFKA]

    @property
    def run(self) -> Run:
        return Run(os.getpid(), self.ports, self.bootstrap_servers, self.supervisor.pids)

    def start(self) -> None:
        """Return when every part is healthy."""
        self.state.end_leftovers()
        self.state.write_run(self.run)
        check_free(self._needed_ports())
        for log in self.state.logs.glob("*.log"):
            _turn(log)
        with ThreadPoolExecutor(2) as pool:
            chains = [pool.submit(self._start_postgres), pool.submit(self._start_kafka)]
            with self._steps.step("Keys of the services and of the identity provider"):
                ensure_keys(
                    self.state.keys,
                    [*(service.name for service in SERVICES), *IDENTITIES],
                    development=True,
                )
                client_secret(self.state.idp)
                ensure_certificate(self.state.folder / SINKS)
            for chain in chains:
                chain.result()
        with self._steps.step("Services") as step:
            self._start_services(step.progress)
        self.state.write_run(self.run)

    def tend(self) -> None:
        """Restart what died; to be called often."""
        if self.supervisor.tend():
            self.state.write_run(self.run)

    def stop(self) -> None:
        """Stop the services first, the gateway before the others, then Kafka and PostgreSQL. The data stay."""
        self.supervisor.stop()
        if self._own_kafka:
            self._own_kafka.stop()
        if self._own_postgres:
            self._own_postgres.stop()
        self.state.forget_run()

    def environment(self, service: Service) -> dict[str, str]:
        dsns = {service.name: self._dsn(service) for service in SERVICES if service.migrations}
        return environment(service, Surroundings(self.state, self.ports, self.bootstrap_servers, dsns))

    def _needed_ports(self) -> dict[str, int]:
        names = ["idp", "mail-sink", SINKS, *(service.name for service in SERVICES)]
        names += chain(*broker_ports(self._own_kafka.brokers)) if self._own_kafka else []
        names += ["postgres"] if self._own_postgres else []
        return {name: self.ports[name] for name in names}

    def _start_postgres(self) -> None:
        if self._own_postgres:
            if not self._own_postgres.initialised:
                with self._steps.step("PostgreSQL: a new cluster"):
                    self._own_postgres.initialise()
            with self._steps.step("PostgreSQL 18"):
                self._own_postgres.start()
                if self._own_postgres.process:
                    self.supervisor.keep(self._own_postgres.process)
        with self._steps.step("Databases and migrations") as step, _named("PostgreSQL", POSTGRES):
            step.note = asyncio.run(self._migrate())

    async def _migrate(self) -> str:
        applied = 0
        for service in SERVICES:
            if service.migrations:
                await ensure_role_and_database(self._admin_dsn(), service.database, self._password(service))
                applied += len(await migrate(self._dsn(service), service.migrations))
        return f"{applied} applied" if applied else "up to date"

    def _start_kafka(self) -> None:
        if self._own_kafka:
            with self._steps.step("Kafka 4.3 (jars, broker)") as step:
                self._own_kafka.start(step.progress)
                for process in self._own_kafka.processes:
                    self.supervisor.keep(process)
        with self._steps.step("Topics") as step, _named("Kafka", KAFKA):
            kafka = KafkaSettings(bootstrap_servers=self.bootstrap_servers)
            copies = self._own_kafka.brokers if self._own_kafka else 1
            created = asyncio.run(ensure_topics(kafka, TOPICS, copies))
            step.note = f"{len(created)} created" if created else "all there"

    def _start_services(self, progress: Callable[[int, int], None]) -> None:
        waiting = {self._start_idp(): self.ports["idp"], self._start_sinks(): self.ports[SINKS]}
        for service in SERVICES:
            log = self.state.logs / f"{service.name}.log"
            environment = {**os.environ, **self.environment(service)}
            first = service.name == "gateway"
            process = ServerProcess(
                service.name, service.command, log=log, env=environment, gives_way=0 if first else GIVES_WAY
            )
            self.supervisor.start(process)
            waiting[process] = self.ports[service.name]
        self.state.write_run(self.run)
        for done, (process, port) in enumerate(waiting.items()):
            progress(done, len(waiting))
            process.wait_until(partial(_healthy, port, list(waiting)), seconds=HEALTHY_SECONDS)

    def _start_idp(self) -> ServerProcess:
        command = [sys.executable, "-m", "cvhub.idp", str(self.state.idp), str(self.ports["idp"])]
        process = ServerProcess("idp", command, log=self.state.logs / "idp.log")
        self.supervisor.start(process)
        return process

    def _start_sinks(self) -> ServerProcess:
        ports = [str(self.ports["mail-sink"]), str(self.ports[SINKS])]
        command = [sys.executable, "-m", "cvhub.sinks", str(self.state.folder / SINKS), *ports]
        environment = {**os.environ, PASSWORD: self.state.secret(SINKS)}
        process = ServerProcess(SINKS, command, log=self.state.logs / f"{SINKS}.log", env=environment)
        self.supervisor.start(process)
        return process

    def _admin_dsn(self) -> str:
        return self._own_postgres.dsn if self._own_postgres else os.environ[POSTGRES]

    def _password(self, service: Service) -> str:
        return self.state.secret(f"database {service.database}")

    def _dsn(self, service: Service) -> str:
        admin = urlsplit(self._admin_dsn())
        name, password = service.database, quote(self._password(service))
        return f"postgresql://{name}:{password}@{admin.hostname}:{admin.port or 5432}/{name}"


def _own_kafka(state: State, ports: Mapping[str, int], brokers: int) -> KafkaCluster | None:
    if os.environ.get(KAFKA):
        return None
    chosen = [
        replace(KafkaPorts(), plain=ports[plain], controller=ports[controller])
        for plain, controller in broker_ports(brokers)
    ]
    return KafkaCluster(state.folder / "kafka", chosen, logs=state.logs)


def _own_postgres(state: State, ports: Mapping[str, int]) -> PostgresServer | None:
    if os.environ.get(POSTGRES):
        return None
    return PostgresServer(state.folder / "postgres", ports["postgres"], log=state.logs / "postgres.log")


@contextlib.contextmanager
def _named(what: str, variable: str) -> Iterator[None]:
    """Say it in a sentence when a server of one's own, which the variable names, cannot be used."""
    try:
        yield
    except (OSError, ValueError, asyncpg.PostgresError, KafkaError, Misconfigured) as error:
        if not os.environ.get(variable):
            raise
        # What cannot be read may quote a part of the password.
        unread = isinstance(error, ValueError)
        why = f"it is written {WRITTEN[variable]}" if unread else str(error) or "no answer in time"
        raise CannotStart(
            f"The {what} that {variable} names does not take us ({type(error).__name__}): {why}."
        ) from error


def _healthy(port: int, processes: Sequence[ServerProcess]) -> bool:
    """Ask one; any that has died meanwhile ends the start at once."""
    for process in processes:
        process.demand_running()
    try:
        return (
            httpx.get(
                f"http://127.0.0.1:{port}/health/ready", timeout=5, trust_env=False, verify=trusting()
            ).status_code
            == 200
        )
    except httpx.HTTPError:
        return False


def _turn(log: Path) -> None:
    """Keep one older log when one has grown long."""
    if log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
