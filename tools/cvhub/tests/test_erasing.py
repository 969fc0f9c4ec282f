"""Orders of erasure: kept before anything is removed, finished whatever dies, repeated after a restore."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cvhub.erasing.carrying_out import Erasing
from cvhub.erasing.command import report_of
from cvhub.erasing.orders import Order, Orders
from cvhub.erasing.testing import HOLDERS, NUMBER, Dies, System
from cvhub.servers.process import CannotStart


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
        erasing.collect([carried], 0, lambda *_: None)
    return [report_of(erasing, order) for order in orders.all()]


def order_of(erasing: Erasing) -> Order:
    return erasing.order(NUMBER, "asked for", "somebody")


def test_a_report_has_a_receipt_of_each_service_and_the_access_rows_that_stay(
    system: System, orders: Orders
) -> None:
    erasing, heard = Erasing(orders, system, HOLDERS), list[str]()
    order = erasing.carry_out(order_of(erasing))
    erasing.collect([order], 0, lambda _order, service, _receipt: heard.append(service))
    report = report_of(erasing, order)
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
        erasing.collect([erasing.carry_out(order_of(erasing))], 0, lambda *_: None)
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
    erasing.collect([order], 0, lambda *_: None)
    system.rows = {**dict.fromkeys(HOLDERS, 2), "cv-registry": 0}
    orders.repeat_all()
    [kept] = erasing.open_orders()
    again = erasing.carry_out(kept)
    assert (again.version or 0) > (order.version or 0)
    assert orders.receipts(again) == {}
    erasing.collect([again], 0, lambda *_: None)
    assert erasing.missing(again) == []
    assert set(system.rows.values()) == {0}


def test_who_is_ordered_anew_after_a_restore_is_not_forgotten_when_the_operator_dies(
    system: System, tmp_path: Path
) -> None:
    file = tmp_path / "orders.sqlite3"
    first = Orders(file)
    erasing = Erasing(first, system, HOLDERS)
    before = order_of(erasing)
    erase_all(erasing, first)
    assert erasing.open_orders() == []
    system.rows = dict.fromkeys(HOLDERS, 2)
    erasing.order(NUMBER, "asked for again", "another")
    first.close()

    second = Orders(file)
    erasing = Erasing(second, system, HOLDERS)
    [kept] = erasing.open_orders()
    assert (kept.id, kept.reason, kept.who, kept.version) == (before.id, "asked for again", "another", None)
    assert report_of(erasing, kept)["receipts"] == {}
    assert [report["missing"] for report in erase_all(erasing, second)] == [[]]
    assert (set(system.rows.values()), erasing.open_orders()) == ({0}, [])
    second.close()


def test_a_receipt_that_leaves_something_does_not_count(system: System, orders: Orders) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    order = orders.erased(order_of(erasing), 1)
    erasing.collect([order], 0, lambda *_: None)
    assert erasing.missing(order) == list(HOLDERS)


def test_a_person_is_named_by_number_or_id_and_nothing_else(system: System, orders: Orders) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    first = erasing.order("010190-1234", "asked for", "somebody")
    again = erasing.order(str(system.person), "again", "another")
    assert again == replace(first, reason="again", who="another", ordered_at=again.ordered_at)
    for wrong in ("12345", "Ea Prøve", ""):
        with pytest.raises(CannotStart, match="person number"):
            erasing.order(wrong, "asked for", "somebody")
    with pytest.raises(CannotStart, match="no such citizen"):
        erasing.order("0202901234", "asked for", "somebody")


@pytest.mark.parametrize(
    ("reason", "who"),
    [("x" * 501, "somebody"), ("\x07", "somebody"), ("\udcff", "somebody"), ("asked for", "x" * 101)],
)
def test_no_order_is_kept_for_a_reason_or_of_somebody_whom_the_registry_would_refuse(
    system: System, orders: Orders, reason: str, who: str
) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    with pytest.raises(CannotStart, match=r"no order is kept: (reason|who)"):
        erasing.order(NUMBER, reason, who)
    assert (orders.all(), system.calls) == ([], 0)
    assert erasing.order(NUMBER, "x" * 500, "x" * 100) == orders.all()[0]


def test_an_order_that_is_not_carried_out_yet_takes_another_reason_although_the_citizen_is_gone(
    system: System, orders: Orders
) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    first = order_of(erasing)
    system.rows["cv-registry"] = 0
    again = erasing.order(str(system.person), "asked for again", "another")
    assert [again] == orders.all()
    assert (again.id, again.reason, again.who) == (first.id, "asked for again", "another")
    done = erasing.carry_out(again)
    assert erasing.order(str(system.person), "once more", "a third") == done


def test_the_file_of_orders_names_nobody(system: System, orders: Orders) -> None:
    erasing = Erasing(orders, system, HOLDERS)
    order_of(erasing)
    erase_all(erasing, orders)
    assert NUMBER.encode() not in orders.file.read_bytes()
