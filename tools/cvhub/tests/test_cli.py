"""What the commands say when something is not there: a sentence, never a traceback."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from typer.testing import CliRunner

from cvhub.cli import app, main
from cvhub.doctor.command import _in_short
from cvhub.doctor.findings import Finding, warning, well, wrong
from cvhub.doctor.services import Asking, _following, _index, _service
from cvhub.health import what_fails
from cvhub.ports import DEFAULT_PORTS
from cvhub.servers.process import CannotStart
from cvhub.services import SERVICES
from cvhub.state import Run, State
from servicekit.testing import free_port


@pytest.fixture(autouse=True)
def _dumps_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the process of the tests as it is, for what is forbidden is so for good."""
    monkeypatch.setattr("cvhub.cli.no_core_dumps", lambda: None)


def test_the_operators_process_leaves_no_dump_either() -> None:
    tell = (
        "import ctypes, resource, sys; from cvhub import cli; "
        "dumpable = lambda: sys.platform == 'linux' and ctypes.CDLL(None).prctl(3, 0, 0, 0, 0); "
        "cli.app = lambda: print(max(resource.getrlimit(resource.RLIMIT_CORE)), int(dumpable())); cli.main()"
    )
    limit, dumpable = subprocess.check_output([sys.executable, "-c", tell], text=True).split()
    assert limit in ("0", "1")
    assert dumpable == "0"


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder in which a stack says that it runs, and nobody listens at its ports."""
    monkeypatch.setenv("CVHUB_STATE", str(tmp_path))
    monkeypatch.delenv("CVHUB_SERVICES", raising=False)
    state, port = State(tmp_path), free_port()
    state.prepare()
    with state.held():
        state.write_run(Run(1, dict.fromkeys(DEFAULT_PORTS, port), f"127.0.0.1:{port}"))
        yield


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["follow", "cv-registry.cv-changed"], "does not answer"),
        (["messages", "mail"], "do not answer"),
        (["print-service"], "do not answer"),
        (["print-service", "works"], "do not answer"),
        (["projections", "gateway"], "has no database"),
        (["pending", "list", "gateway"], "has no database"),
        (["verify", "nobody"], "There is no service 'nobody'"),
    ],
)
@pytest.mark.usefixtures("nothing_runs")
def test_what_is_away_or_was_never_there_is_said_in_a_sentence(command: list[str], says: str) -> None:
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, CannotStart), result.exception
    assert says in str(result.exception)


ELSEWHERE = '{"cv-status": "http://127.0.0.1:1"}'


@pytest.mark.parametrize(
    ("command", "given", "says"),
    [
        ("projections cv-status", {}, "start it with `make up`, or name one elsewhere by CVHUB_SERVICES"),
        (
            "erase 0101011234 --reason x",
            {},
            "start it with `make up`, or name one elsewhere by CVHUB_SERVICES",
        ),
        ("projections cv-status", {"SERVICES": '{"cv-status": null}'}, "is the base URL of each service"),
        (
            "projections cv-registry",
            {"SERVICES": ELSEWHERE},
            "CVHUB_SERVICES does not say where cv-registry is",
        ),
        (
            "projections nobody",
            {"SERVICES": ELSEWHERE},
            "There is no service 'nobody'; there are: cv-status.",
        ),
        ("doctor", {"SERVICES": ELSEWHERE}, "missing or invalid: KAFKA."),
        (
            "doctor",
            {"SERVICES": ELSEWHERE, "OPERATOR_KEY": None},
            "name the file of its operator's key in CVHUB_OPERATOR_KEY",
        ),
        (
            "doctor",
            {"SERVICES": ELSEWHERE, "OPERATOR_KEY": "nowhere.pem"},
            "There is no file nowhere.pem, which CVHUB_OPERATOR_KEY",
        ),
    ],
)
def test_where_the_system_is_and_whose_key_it_takes_is_asked_for_in_a_sentence(
    command: str, given: dict[str, str | None], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "operator.pem"
    key.touch()
    settings = {"STATE": str(tmp_path / "none"), "SERVICES": None, "OPERATOR_KEY": str(key), **given}
    for name, value in settings.items():
        if value is None:
            monkeypatch.delenv(f"CVHUB_{name}", raising=False)
        else:
            monkeypatch.setenv(f"CVHUB_{name}", value)
    result = CliRunner().invoke(app, command.split())
    assert isinstance(result.exception, CannotStart), result.exception
    assert says in str(result.exception)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "command", [["doctor"], ["projections", "cv-status"], ["access-log", "list", "--user", "x"]]
)
def test_a_file_that_is_no_key_is_said_in_a_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "CVHUB_SERVICES", '{"cv-registry": "http://127.0.0.1:1", "cv-status": "http://127.0.0.1:1"}'
    )
    monkeypatch.setenv("CVHUB_OPERATOR_KEY", str(tmp_path / "operator.pem"))
    monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    (tmp_path / "operator.pem").write_text("no key")
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, CannotStart), result.exception
    assert "operator.pem holds no private key" in str(result.exception)


def test_a_sentence_shows_what_was_typed_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CVHUB_STATE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["cvhub", "logs", "[/red]"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "There is no log of '[/red]'" in capsys.readouterr().err


def test_what_fails_is_named_by_the_checks_that_do() -> None:
    checks = {"database": {"status": "failed"}, "code-lists": {"status": "ok"}, "relay": {"status": "failed"}}
    assert what_fails({"status": "not ready", "checks": checks}) == "database, relay"
    assert what_fails({"status": "draining"}) == "draining"


def test_the_doctor_tells_at_the_end_what_is_not_well_and_before_it_how_many_are() -> None:
    bad, odd = wrong("services", "gateway", "not ready", "wait"), warning("lag", "x", "7", "wait")
    findings = [well("keys", "a", "known"), well("keys", "b", "known"), bad, well("services", "b", ""), odd]
    assert list(_in_short(findings)) == [
        well("keys", "", "2 well"),
        well("services", "", "1 well"),
        bad,
        odd,
    ]


class Away:
    """Stands for what asks a service that nobody reaches."""

    def ready(self, _service: str) -> tuple[int, dict[str, Any]]:
        raise httpx.ConnectError("refused")


def test_the_doctor_says_that_a_service_that_does_not_answer_may_run_and_not_be_ready() -> None:
    [found] = _service(cast(Asking, Away()), SERVICES[0], {})
    assert (found.level, found.text) == ("wrong", "does not answer")
    assert "or no instance is ready" in found.advice


def test_the_doctor_finds_records_that_were_gone_until_what_lacks_them_is_built_anew() -> None:
    one = {"name": "citizens", "live": 1, "building": None, "heartbeatAge": 3.0, "lag": 0, "pending": 0}

    def replica(**more: object) -> Finding:
        [found] = [
            f for f in _following("cv-status", [{**one, "unreadable": 0, **more}]) if f.check == "replicas"
        ]
        return found

    assert (replica(gaps=2).level, replica(gaps=0).level, replica().level) == ("wrong", "well", "well")
    assert replica(gaps=2).advice == "docs/runbook.md, CvhubRecordsGone"
    assert (replica(heartbeatAge=None).level, replica(heartbeatAge=40.0).level) == ("well", "wrong")
    held = {"generation": 2, "rows": 40, "share": 1.0, "held": True}
    assert replica(gaps=2, building=held).advice == "docs/runbook.md, CvhubBuildHeld"


@pytest.mark.parametrize(
    ("lag", "trouble", "level"),
    [(0.2, None, "well"), (10.5, None, "wrong"), (10.5, "OSError", "wrong"), (0.2, "OSError", "warning")],
)
def test_the_doctor_finds_an_index_that_is_behind_or_in_trouble(
    lag: float, trouble: str | None, level: str
) -> None:
    [found] = _index("cv-search", {"position": 7, "lag_seconds": lag, "built": 1, "trouble": trouble})
    assert (found.check, found.level) == ("index", level)
    assert (trouble or "behind") in found.text
    assert (found.advice == "docs/runbook.md, CvhubIndexBehind") is (level != "well")
    # One that is not ready tells nothing of how far it is.
    assert list(_index("cv-search", {"status": "NotBuilt"})) == list(_index("gateway", None)) == []


def test_the_doctor_finds_a_build_that_waits_for_an_operator() -> None:
    building = {"generation": 2, "rows": 40, "share": 1.0, "held": False}
    one = {"name": "citizens", "live": 1, "building": building, "heartbeatAge": 3.0, "lag": 0, "pending": 0}

    def levels(row: dict[str, object]) -> dict[str, str]:
        return {found.check: found.level for found in _following("cv-status", [{**row, "unreadable": 0}])}

    well_ = dict.fromkeys(("replicas", "lag", "pending", "unreadable"), "well")
    assert levels(one) == levels({**one, "building": None}) == well_
    assert levels({**one, "building": {**building, "held": True}}) == {**well_, "replicas": "wrong"}
