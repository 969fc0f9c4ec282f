"""The brokers of the local stack as one Kafka: one broker, or several that each hold all records."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cvhub.servers.jars import Progress, silent
from cvhub.servers.kafka import KafkaPorts, KafkaServer, Member, new_cluster_id
from cvhub.servers.process import CannotStart, ServerProcess


class KafkaCluster:
    """As many brokers as ports are given. The data of one broker lie in `folder`, those of several in a folder each.

    Of three brokers any one may be away: a record is acknowledged once two have it.
    """

    def __init__(self, folder: Path, ports: Sequence[KafkaPorts], *, logs: Path) -> None:
        self._folder = folder
        self._several = len(ports) > 1
        cluster = self._cluster_id()
        controllers = {number: one.controller for number, one in enumerate(ports, 1)}
        self.servers = [
            KafkaServer(
                folder / str(number) if self._several else folder,
                one,
                member=Member(number, controllers, cluster),
                log=logs / ("kafka.log" if number == 1 else f"kafka-{number}.log"),
            )
            for number, one in enumerate(ports, 1)
        ]

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(server.bootstrap_servers for server in self.servers)

    @property
    def brokers(self) -> int:
        return len(self.servers)

    @property
    def processes(self) -> list[ServerProcess]:
        return [server.process for server in self.servers if server.process is not None]

    def start(self, progress: Progress = silent) -> None:
        """Start all brokers, and wait until all take part."""
        if (self._folder / ("data" if self._several else "1")).exists():
            raise CannotStart(
                "The data here were made with another number of brokers: give that one, or `make reset` starts over."
            )
        for server, process in [(server, server.begin(progress)) for server in self.servers]:
            server.wait_for(process)

    def stop(self) -> None:
        """Tell all to stop at the same time: one that is left without the others cannot stop cleanly."""
        with ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(KafkaServer.stop, self.servers))

    def _cluster_id(self) -> str:
        """Give the id that the brokers share; it must be the same when one of them starts over with an empty disk."""
        if not self._several:
            return new_cluster_id()
        file = self._folder / "cluster-id"
        if not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            file.write_text(new_cluster_id())
        return file.read_text()
