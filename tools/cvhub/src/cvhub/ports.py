"""The ports of the stack: which part listens where, how to choose others, and who sits on a taken one."""

import errno
import os
import socket
from collections.abc import Iterable, Mapping

import psutil

from cvhub.servers.process import CannotStart

DEFAULT_PORTS: Mapping[str, int] = {
    "gateway": 8080,
    "cv-registry": 8081,
    "cv-status": 8082,
    "contact-verification": 8083,
    "cv-search": 8084,
    "change-feed": 8086,
    "pdf-renderer": 8085,
    "idp": 8090,
    "mail-sink": 8091,
    "sinks": 8092,
    "kafka": 19092,
    "kafka-controller": 19093,
    "kafka-2": 19094,
    "kafka-2-controller": 19095,
    "kafka-3": 19096,
    "kafka-3-controller": 19097,
    "postgres": 15432,
}


def broker_ports(brokers: int) -> list[tuple[str, str]]:
    """Give the names of each broker's ports: that of its clients, and that of its controller."""
    names = ["kafka", *(f"kafka-{number}" for number in range(2, brokers + 1))]
    return [(name, f"{name}-controller") for name in names]


def choose(chosen: Iterable[str] = ()) -> dict[str, int]:
    """Give the port of each part. `chosen` are "9080" (the gateway) or "kafka=29092"; CVHUB_PORTS holds the same."""
    ports = dict(DEFAULT_PORTS)
    for text in [*os.environ.get("CVHUB_PORTS", "").replace(",", " ").split(), *chosen]:
        name, _, number = text.rpartition("=")
        name = name or "gateway"
        if name not in ports or not number.isdigit() or not 0 < int(number) < 65536:
            raise CannotStart(f"'{text}' is not a port: write NAME=PORT with NAME one of {', '.join(ports)}.")
        ports[name] = int(number)
    return ports


def check_free(ports: Mapping[str, int]) -> None:
    for part, port in ports.items():
        if _taken(port):
            raise CannotStart(
                f"Port {port} ({part}) is taken{_by(port)}: stop that, or choose another with "
                f'`make up ARGS="--port {part}=PORT"` or CVHUB_PORTS={part}=PORT.'
            )


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise CannotStart(f"Port {port} is not open to your user: choose one above 1023.") from error
            return True
    return False


def _by(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    # A service lets nobody but root look into it.
                    return ", perhaps by another cvhub"
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""
