"""Orders of erasure: kept before anything is removed, finished whatever dies, repeated after a restore."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from typer.testing import CliRunner

from cvhub.cli import app
from cvhub.erasing.carrying_out import Away, Erasing
from cvhub.erasing.command import report_of
from cvhub.erasing.orders import Order, Orders
from cvhub.servers.process import CannotStart
from cvhub.services import HOLDERS as ALL_HOLDERS

NUMBER = "0101901234"
HOLDERS = ("cv-registry", "cv-status", "pdf-renderer")


class Dies(Exception):  # noqa: N818 - what happens to the operator's process
    """The process ends here."""


@dataclass
class System:
    """Services in memory, as an operator's calls meet them. Versions rise; whoever is `away` or `failing` hears of nothing."""

    person: UUID = field(default_factory=uuid4)
    cv: UUID = field(default_factory=uuid4)
    version: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(HOLDERS, 2))
    erased: dict[str, int] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    dies_before: int | None = None
    calls: int = 0

    def __call__(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        self.calls += 1
        if self.calls == self.dies_before:
            raise Dies
        if service in self.away:
            raise Away(service)
        if service in self.failing:
            raise Away(service, 503)
        answer = {"/find": self._find, "": self._erase}.get(path)
        return self._receipt(service) if answer is None else answer(body)

    def _find(self, body: Mapping[str, Any]) -> Any:
        here = self.rows["cv-registry"] and body.get("personNumber") == NUMBER
        known = here or (self.rows["cv-registry"] and str(self.person) == body.get("personId"))
        return {"personId": str(self.person), "cvId": str(self.cv)} if known else {}

    def _erase(self, body: Mapping[str, Any]) -> Any:
        if self.rows["cv-registry"] or body["again"] or not self.version:
            self.version += 1
        self.rows["cv-registry"] = 0
        self.erased["cv-registry"] = self.version
        return {"personVersion": self.version, "cvVersion": self.version}

    def _receipt(self, service: str) -> Any:
        if self.version:
            self.rows[service], self.erased[service] = 0, self.version
        left = {"rows": self.rows[service]} if self.rows[service] else {}
        version = self.erased.get(service)
        return {"version": version, "erasedAt": None, "removed": {"rows": 2}, "left": left, "accessRows": 3}


@pytest.fixture
def system() -> System:
    return System()


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Orders]:
    orders = Orders(tmp_path / "orders.sqlite3")
    yield orders
    orders.close()


def erase_all(erasing: Erasing, orders: Orders) -> list[dict[str, Any]]:
    """Go on with whatever is open; gives the reports of all orders."""
    for order in erasing.open_orders():
        carried = order if order.version is not None else erasing.carry_out(order)
        erasing.collect(carried, 0, lambda *_: None)
    return [report_of(erasing, order, orders.receipts(order)) for order in orders.all()]


def order_of(erasing: Erasing) -> Order:
    return erasing.order(NUMBER, "asked for", "somebody")


def test_a_report_has_a_receipt_of_each_service_and_the_access_rows_that_stay(
    system: System, orders: Orders
) -> None:
    erasing, heard = Erasing(orders, system, HOLDERS), list[str]()
    order = erasing.carry_out(order_of(erasing))
    receipts = erasing.collect(order, 0, lambda service, _: heard.append(service))
    report = report_of(erasing, order, receipts)
    assert heard == list(HOLDERS)
    assert report["missing"] == []
    assert report["accessRows"] == dict.fromkeys(HOLDERS, 3)
    assert erasing.open_orders() == []


def test_a_service_that_is_down_gives_its_receipt_later(system: System, orders: Orders) -> None:
    system.away = {"pdf-renderer"}
    erasing = Erasing(orders, system, HOLDERS)
    order_of(erasing)
    assert erase_all(erasing, orders)[0]["missing"] == ["pdf-renderer"]
    system.away = set()
    assert erase_all(erasing, orders)[0]["missing"] == []


@pytest.mark.parametrize("step", range(1, 6))
def test_an_operator_who_dies_before_any_call_goes_on_and_finishes(
    system: System, tmp_path: Path, step: int
) -> None:
    file = tmp_path / "orders.sqlite3"
    system.dies_before = step
    first = Orders(file)
    erasing = Erasing(first, system, HOLDERS)
    with pytest.raises(Dies):
        erasing.collect(erasing.carry_out(order_of(erasing)), 0, lambda *_: None)
    first.close()
    second = Orders(file)
    erasing = Erasing(second, system, HOLDERS)
    if not second.all():
        order_of(erasing)
    assert [report["missing"] for report in erase_all(erasing, second)] == [[]]
    assert (set(system.rows.values()), system.version) == ({0}, 1)
    second.close()


def test_after_a_restore_every_order_is_carried_out_again_by_a_higher_version(
    system: System, orders: Orders
) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    order = erasing.carry_out(order_of(erasing))
    erasing.collect(order, 0, lambda *_: None)
    system.rows = dict.fromkeys(HOLDERS, 2)
    again = erasing.carry_out(orders.all()[0], again=True)
    assert orders.receipts(again) == {}
    assert len(erasing.collect(again, 0, lambda *_: None)) == len(HOLDERS)
    assert set(system.rows.values()) == {0}


@dataclass
class Registered:
    """Several citizens, each in a system of its own."""

    systems: list[System]

    def __call__(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        of = next(system for system in self.systems if str(system.person) == body["personId"])
        return of(service, path, body)


def test_repeating_goes_on_past_an_order_that_the_registry_does_not_take_and_says_how_to_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (System(rows=dict.fromkeys(ALL_HOLDERS, 0), version=1) for _ in range(2))
    services, file = Registered([first, second]), tmp_path / "orders.sqlite3"
    orders = Orders(file)
    erasing = Erasing(orders, services)
    for one in (first, second):
        order = orders.erased(orders.add(one.person, one.cv, "asked for", "somebody"), 1)
        erasing.collect(order, 0, lambda *_: None)
    assert erasing.open_orders() == []
    orders.close()

    first.rows, second.rows = (dict.fromkeys(ALL_HOLDERS, 2) for _ in range(2))
    first.failing = {"cv-registry"}
    monkeypatch.setenv("CVHUB_ERASURES", str(file))
    monkeypatch.setattr("cvhub.erasing.command.Services", lambda: services)
    result = CliRunner().invoke(app, ["erase", "--repeat-all", "--wait", "0"])
    assert set(second.rows.values()) == {0}
    assert result.exit_code == 1
    said = str(result.exception)
    assert "cv-registry answers 503: 1 of 2 orders" in said
    assert "`cvhub erase --repeat-all` begins again" in said
    assert "--pending" not in said + result.output
    first.failing = set()
    again = CliRunner().invoke(app, ["erase", "--repeat-all", "--wait", "0"])
    assert again.exit_code == 0
    assert set(first.rows.values()) == {0}


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
        f"cv-registry does not answer: {len(three_orders)} of 3 orders are not carried out again; "
        "`cvhub erase --repeat-all` begins again."
    )


def test_repeating_says_of_each_order_that_the_registry_fails_to_carry_it_out(
    three_orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = calls_of(monkeypatch, lambda: httpx.Response(503))
    result = CliRunner().invoke(app, ["erase", "--repeat-all", "--wait", "0", "--json"])
    assert called == ["cv-registry"] * 3
    assert result.stderr.splitlines() == [
        f"Order {order.id} is not carried out again: cv-registry answers 503." for order in three_orders
    ]
    assert json.loads(result.stdout) == []
    assert str(result.exception) == (
        "cv-registry answers 503: 3 of 3 orders are not carried out again; "
        "`cvhub erase --repeat-all` begins again."
    )


def test_a_receipt_that_leaves_something_does_not_count(system: System, orders: Orders) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    order = orders.erased(order_of(erasing), 1)
    assert erasing.receipts(order) == {}


def test_a_person_is_named_by_number_or_id_and_nothing_else(system: System, orders: Orders) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    first = erasing.order("010190-1234", "asked for", "somebody")
    assert erasing.order(str(system.person), "again", "another") == first
    for wrong in ("12345", "Ea Prøve", ""):
        with pytest.raises(CannotStart, match="person number"):
            erasing.order(wrong, "asked for", "somebody")
    with pytest.raises(CannotStart, match="no such citizen"):
        erasing.order("0202901234", "asked for", "somebody")


def test_the_file_of_orders_names_nobody(system: System, orders: Orders) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    order_of(erasing)
    erase_all(erasing, orders)
    assert NUMBER.encode() not in orders.file.read_bytes()
