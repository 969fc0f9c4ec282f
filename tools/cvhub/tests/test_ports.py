"""Ports can be chosen, and a taken one is named with its holder and the way out."""

import os
import socket

import psutil
import pytest

from cvhub.ports import DEFAULT_PORTS, check_free, choose
from cvhub.servers.process import CannotStart
from servicekit.testing import free_port


def test_a_bare_number_is_the_gateways_port() -> None:
    assert choose(["9080"])["gateway"] == 9080


def test_the_environment_chooses_ports_and_the_command_line_overrides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CVHUB_PORTS", "kafka=29092,gateway=9080")
    ports = choose(["gateway=9081"])
    assert (ports["kafka"], ports["gateway"]) == (29092, 9081)


def test_what_is_not_chosen_stays_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CVHUB_PORTS", raising=False)
    assert choose() == dict(DEFAULT_PORTS)


@pytest.mark.parametrize("text", ["gateway=", "nobody=8080", "gateway=70000", "abc"])
def test_what_is_not_a_port_is_refused_with_the_names_there_are(text: str) -> None:
    with pytest.raises(CannotStart, match="cv-registry"):
        choose([text])


def test_a_taken_port_names_its_holder_and_how_to_choose_another() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(CannotStart) as refused:
            check_free({"gateway": port})
    said = str(refused.value)
    assert f"Port {port} (gateway) is taken" in said
    assert f"process {os.getpid()}" in said
    assert '`make up ARGS="--port gateway=PORT"`' in said


def test_a_holder_that_nobody_may_look_into_may_be_another_cvhub(monkeypatch: pytest.MonkeyPatch) -> None:
    nameless = psutil.net_connections

    def without_processes(kind: str) -> list[object]:
        return [one._replace(pid=None) for one in nameless(kind)]

    monkeypatch.setattr("psutil.net_connections", without_processes)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(CannotStart, match=f"Port {port} .* is taken, perhaps by another cvhub: stop"):
            check_free({"gateway": port})


def test_a_free_port_is_accepted() -> None:
    check_free({"gateway": free_port()})
