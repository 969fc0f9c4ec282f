"""`cvhub erase`: what it goes on past, where it ends, and what it says then."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner, Result

from cvhub.cli import app
from cvhub.erasing.orders import Order, Orders
from cvhub.erasing.testing import Registered, System
from cvhub.services import HOLDERS as ALL_HOLDERS


class Terminal:
    """Somebody at a terminal, with a file of orders about these citizens."""

    def __init__(self, services: Registered, file: Path) -> None:
        self.services = services
        orders = Orders(file)
        self.orders = [orders.add(one.person, one.cv, "asked for", "somebody") for one in services.systems]
        orders.close()

    def erase(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["erase", *arguments, "--json"])

    def reported(self, *arguments: str) -> set[str]:
        """Give of whom `erase` reports that nobody lacks."""
        reports = json.loads(self.erase(*arguments, "--wait", "0").stdout)
        return {report["personId"] for report in reports if not report["missing"]}


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Three citizens who are to be erased."""
    services = Registered([System(rows=dict.fromkeys(ALL_HOLDERS, 2)) for _ in range(3)])
    file = tmp_path / "orders.sqlite3"
    monkeypatch.setenv("CVHUB_ERASURES", str(file))
    monkeypatch.setattr("cvhub.erasing.command.Services", lambda: services)
    return Terminal(services, file)


def people(*systems: System) -> set[str]:
    return {str(system.person) for system in systems}


@pytest.mark.parametrize("flag", ["--pending", "--repeat-all"])
def test_an_order_that_the_registry_fails_to_carry_out_stops_no_other_and_stays_pending(
    terminal: Terminal, flag: str
) -> None:
    first, second, third = terminal.services.systems
    if flag == "--repeat-all":
        assert terminal.reported("--pending") == people(first, second, third)
        for one in (first, second, third):
            one.rows = dict.fromkeys(ALL_HOLDERS, 2)
    second.failing = {"cv-registry"}
    result = terminal.erase(flag, "--wait", "0")
    assert result.exit_code == 1
    assert {one["personId"] for one in json.loads(result.stdout)} == people(first, third)
    assert result.stderr == f"Order {terminal.orders[1].id} is not carried out: cv-registry answers 503.\n"
    assert str(result.exception) == (
        "cv-registry answers 503: 1 of 3 orders are not carried out; `cvhub erase --pending` goes on."
    )
    second.failing = set()
    assert terminal.reported("--pending") == people(second)
    assert set(second.rows.values()) == {0}


def test_followers_that_a_back_up_made_forget_an_erasure_hear_of_it_although_repeating_was_broken_off(
    terminal: Terminal,
) -> None:
    every = terminal.services.systems
    assert terminal.reported("--pending") == people(*every)
    for one in every:
        one.rows["cv-search"], one.away = 2, {"cv-registry"}
    assert terminal.reported("--repeat-all") == set()
    for one in every:
        one.away = set()
    versions = [one.version for one in every]
    assert terminal.reported("--pending") == people(*every)
    assert [one.version for one in every] == [version + 1 for version in versions]


def test_all_orders_are_carried_out_before_the_first_receipt_is_waited_for_and_all_wait_together(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("cvhub.erasing.carrying_out.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "cvhub.erasing.carrying_out.time.sleep", lambda seconds: clock.append(clock.pop() + seconds)
    )
    for one in terminal.services.systems:
        one.away = {"cv-search"}
    result = terminal.erase("--pending", "--wait", "60")
    assert clock[0] == 60
    assert terminal.services.asked[:4] == ["", "", "", "/receipts"]
    assert [report["missing"] for report in json.loads(result.stdout)] == [["cv-search"]] * 3
    assert result.stderr == "cv-search does not answer.\n"


def test_a_service_that_does_not_answer_is_not_asked_about_each_citizen(terminal: Terminal) -> None:
    first, second, third = terminal.services.systems
    for one in (first, second, third):
        one.away = {"cv-search"}
    terminal.erase("--pending", "--wait", "0")
    assert (first.calls - second.calls, second.calls) == (1, third.calls)


def test_a_receipt_that_a_service_fails_to_give_keeps_back_none_of_others(terminal: Terminal) -> None:
    first, second, third = terminal.services.systems
    first.failing = {"cv-search"}
    assert terminal.reported("--pending") == people(second, third)


@pytest.fixture
def three_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """Orders that were carried out before a back-up was restored."""
    file = tmp_path / "orders.sqlite3"
    monkeypatch.setenv("CVHUB_ERASURES", str(file))
    orders = Orders(file)
    made = [orders.erased(orders.add(uuid4(), uuid4(), "asked for", "somebody"), 1) for _ in range(3)]
    orders.close()
    return made


def calls_of(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], httpx.Response]) -> list[str]:
    """Let every service answer so; gives whom was called, as it grows."""
    called = list[str]()

    def call(_verb: str, service: str, _path: str, **_options: Any) -> httpx.Response:
        called.append(service)
        return answer()

    monkeypatch.setattr("cvhub.erasing.carrying_out.place", lambda _state: None)
    monkeypatch.setattr("cvhub.erasing.carrying_out.Calls", lambda _place: call)
    return called


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout])
def test_repeating_ends_at_once_where_the_registry_gives_no_answer(
    three_orders: list[Order], monkeypatch: pytest.MonkeyPatch, error: type[httpx.TransportError]
) -> None:
    def away() -> httpx.Response:
        raise error("")

    called = calls_of(monkeypatch, away)
    result = CliRunner().invoke(app, ["erase", "--repeat-all", "--wait", "0"])
    assert called == ["cv-registry"]
    assert str(result.exception) == (
        f"cv-registry does not answer: {len(three_orders)} of 3 orders are not carried out; "
        "`cvhub erase --pending` goes on."
    )


@pytest.mark.parametrize("status", [401, 403])
def test_repeating_ends_at_once_where_the_registry_does_not_take_the_operators_key(
    three_orders: list[Order], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    called = calls_of(monkeypatch, lambda: httpx.Response(status))
    result = CliRunner().invoke(app, ["erase", "--repeat-all", "--wait", "0"])
    assert called == ["cv-registry"]
    assert f"CVHUB_OPERATOR_KEY: {len(three_orders)} of 3 orders" in str(result.exception)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(503), "cv-registry answers 503"),
        (
            httpx.Response(400, json={"errors": [{"element": "why.reason", "reason": "is too long"}]}),
            "cv-registry cannot take that: why.reason is too long",
        ),
    ],
)
def test_repeating_says_of_each_order_why_the_registry_does_not_carry_it_out(
    three_orders: list[Order], monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, said: str
) -> None:
    called = calls_of(monkeypatch, lambda: answer)
    result = CliRunner().invoke(app, ["erase", "--repeat-all", "--wait", "0", "--json"])
    assert called == ["cv-registry"] * 3
    assert result.stderr.splitlines() == [
        f"Order {order.id} is not carried out: {said}." for order in three_orders
    ]
    assert json.loads(result.stdout) == []
    assert str(result.exception) == (
        f"{said}: 3 of 3 orders are not carried out; `cvhub erase --pending` goes on."
    )
