"""The whole system with a proxy before every part, so that any connection between two of them can be troubled."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Self

from tests.drills.proxy import Proxy
from tests.e2e.system import DrilledStack, System

from cvhub.servers.kafka import KafkaPorts
from cvhub.servers.kafka_cluster import KafkaCluster
from cvhub.services import SERVICES, Service
from cvhub.state import State

PROXIED = {"PostgreSQL": "postgres", "Kafka": "kafka", **{service.name: service.name for service in SERVICES}}
"""The name of the port of each part that has a proxy."""


class ProxiedStack(DrilledStack):
    """The stack of the other tests, whose services reach each other and their servers by way of proxies only.

    Several brokers are told of each other, and so are their clients: those connections have no proxies.
    """

    def __init__(self, state: State, more: Mapping[str, str], brokers: int) -> None:
        super().__init__(state, more, brokers)
        self.proxies = {part: Proxy(self.ports[port]) for part, port in PROXIED.items()}
        if brokers == 1:
            ports = replace(
                KafkaPorts(),
                plain=self.ports["kafka"],
                controller=self.ports["kafka-controller"],
                told=self.proxies["Kafka"].port,
            )
            self._own_kafka = KafkaCluster(state.folder / "kafka", [ports], logs=state.logs)

    def environment(self, service: Service) -> dict[str, str]:
        return {name: self._led_by_proxies(value) for name, value in super().environment(service).items()}

    def _led_by_proxies(self, value: str) -> str:
        for part, proxy in self.proxies.items():
            value = value.replace(f"127.0.0.1:{self.ports[PROXIED[part]]}", f"127.0.0.1:{proxy.port}")
        return value


class ProxiedSystem(System):
    """A running system of that kind; its gateway is called through its proxy too."""

    stack: ProxiedStack

    def __init__(self, citizens: int, brokers: int = 1) -> None:
        super().__init__(citizens, stack=partial(ProxiedStack, brokers=brokers))
        self._doors = ExitStack()

    @property
    def proxies(self) -> Mapping[str, Proxy]:
        return self.stack.proxies

    def start(self) -> None:
        for proxy in self.proxies.values():
            self._doors.enter_context(proxy)
        super().start()

    def stop(self) -> None:
        super().stop()
        self._doors.close()

    def heal(self) -> None:
        for part, proxy in self.proxies.items():
            proxy.give("none")
            proxy.servers = [self.stack.ports[PROXIED[part]]]
        super().heal()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
