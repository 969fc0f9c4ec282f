"""The locked jars of Kafka: whole, hashed, and never taken damaged."""

from pathlib import Path

import pytest

from cvhub.servers import jars
from cvhub.servers.process import CannotStart


def test_the_lock_names_the_broker_and_a_logging_binding_each_once() -> None:
    names = [(jar.group, jar.artifact) for jar in jars.locked_jars()]
    assert len(names) == len(set(names))
    assert ("org.apache.kafka", "kafka_2.13") in names
    assert ("org.apache.logging.log4j", "log4j-slf4j-impl") in names


def test_every_jar_is_locked_by_a_sha256_and_every_kafka_jar_is_of_one_version() -> None:
    locked = jars.locked_jars()
    assert all(len(jar.sha256) == 64 for jar in locked)
    assert {jar.version for jar in locked if jar.group == "org.apache.kafka"} == {"4.3.1"}


def test_a_jar_with_other_bytes_is_not_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    jar = jars.locked_jars()[0]
    assert not jar.intact()
    jar.path.parent.mkdir(parents=True)
    jar.path.write_bytes(b"not the jar")
    assert not jar.intact()


def test_a_first_set_up_without_network_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(CannotStart, match="needs the network") as refused:
        jars.kafka_classpath()
    assert "\n" not in str(refused.value)
