"""Foreign text on an operator's terminal: shown as it was written, and doing nothing there."""

from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cvhub import operations
from cvhub.access import command as access_log
from cvhub.cli import app
from cvhub.doctor import command as doctor
from cvhub.doctor.findings import wrong
from cvhub.erasing import command as erase
from cvhub.showing import cell, visible

ROW = {
    "at": "2026-11-22T11:00:00+00:00",
    "subject": None,
    "looks": 2,
    "method": "SearchCVText",
    "service": None,
    "client": "system",
    "active_type": 8,
    "active_code": "10100",
    "request_type": 8,
    "request_code": "10100",
}
WRITTEN = {
    "[/x]": "[/x]",
    "[conceal]ada[/conceal]": "[conceal]ada[/conceal]",
    "[link=https://example.com]ada[/link]": "[link=https://example.com]ada[/link]",
    "ada\\": "ada\\",
    ":skull:": ":skull:",
    "a\u202eda": "a\\u202eda",
    "a\x1b[8mda": "a\\u001b[8mda",
    "a\rb\nc\x9bd\u2028e\u200bf\U000e0041g": "a\\u000db\\u000ac\\u009bd\\u2028e\\u200bf\\U000e0041g",
    "Åse Ødegård-Łukasz 名": "Åse Ødegård-Łukasz 名",
}


@pytest.mark.parametrize(("written", "shown"), WRITTEN.items())
def test_what_somebody_wrote_is_shown_as_it_is_written(written: str, shown: str) -> None:
    assert visible(written) == shown
    console = Console(width=200, force_terminal=True, color_system="truecolor")
    with console.capture() as captured:
        console.print(cell(written), end="")
    assert captured.get() == shown
    assert (cell(None).plain, cell(0).plain) == ("", "0")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (access_log, operations, erase):
        monkeypatch.setattr(module, "console", Console(width=400))


@pytest.mark.parametrize(("written", "shown"), WRITTEN.items())
def test_a_users_identifier_neither_ends_nor_hides_the_list_of_looks(
    monkeypatch: pytest.MonkeyPatch, written: str, shown: str
) -> None:
    def ask(holder: str, _path: str, _body: dict[str, Any]) -> Any:
        return {"rows": [{**ROW, "user_identifier": written}] if holder == "cv-search" else []}

    monkeypatch.setattr(access_log, "ask", ask)
    done = CliRunner().invoke(
        app,
        ["access-log", "list", "--organisation", "8:10100", "--since", "2999-01-01", "--until", "2999-01-01"],
    )
    assert done.exit_code == 0, done.exception
    assert shown in done.output


@pytest.mark.parametrize(("written", "shown"), WRITTEN.items())
def test_nor_the_list_of_who_read_unusually_much(
    monkeypatch: pytest.MonkeyPatch, written: str, shown: str
) -> None:
    def ask(holder: str, _path: str, body: dict[str, Any]) -> Any:
        read = {
            "client": written,
            "user_type": 2,
            "user_identifier": written,
            "own_type": 8,
            "own_code": "10100",
        }
        last = body["until"].startswith("2026-11-22T23")
        return {
            "reads": [{**read, "day": "2026-11-22", "looks": 900}] if last and holder == "cv-search" else []
        }

    monkeypatch.setattr(access_log, "ask", ask)
    done = CliRunner().invoke(app, ["access-log", "unusual", "--day", "2026-11-22"])
    assert done.exit_code == 1, done.exception
    assert done.output.count(shown) == 2


def test_nor_the_tables_of_what_waits_what_is_erased_and_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    operations._show([{"reason": "[/x]", "next_try": None}], ("reason", "next_try"), "")
    receipt = {"erasedAt": None, "removed": {"[/x]": 1}, "accessRows": 0}
    erase._show({"order": "1", "personId": "2", "receipts": {"a": receipt}, "missing": [], "accessRows": {}})
    doctor._show([wrong("disk", "a", "[/x]", "b")], each=True)
    assert capsys.readouterr().out.count("[/x]") == 3
