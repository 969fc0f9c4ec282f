"""Orders of erasure and their receipts, in a file of the operator's own: no back-up of an owner can make them forgotten."""

import json
import os
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from cvhub.servers.process import CannotStart
from cvhub.state import State

__all__ = ["Order", "Orders"]

FILE = "CVHUB_ERASURES"

_TABLES = """
create table if not exists orders (
    id text primary key, person_id text not null unique, cv_id text not null, reason text not null, who text not null,
    ordered_at real not null, version integer
) strict;
create table if not exists receipts (
    order_id text not null references orders (id), service text not null, version integer not null, receipt text not null,
    received_at real not null, primary key (order_id, service)
) strict;
"""
_COLUMNS = "id, person_id, cv_id, reason, who, ordered_at, version"


@dataclass(frozen=True)
class Order:
    """One order: whom, by random ids, why and by whom. `version` is that of the erasure, None while the registry is to do it."""

    id: UUID
    person_id: UUID
    cv_id: UUID
    reason: str
    who: str
    ordered_at: float
    version: int | None


class Orders:
    """The file that CVHUB_ERASURES names, else one in the state folder. What is written is on the disk before a call returns.

    Nothing in it tells who a citizen was: ids are random, and a reason must name nobody.
    """

    def __init__(self, file: Path | None = None) -> None:
        named = os.environ.get(FILE)
        self.file = file or (Path(named) if named else State().folder / "erasures.sqlite3")
        try:
            self._db = sqlite3.connect(self.file, isolation_level=None)
            self._db.executescript(f"pragma synchronous = full; {_TABLES}")
        except sqlite3.Error as error:
            raise CannotStart(
                f"{self.file} cannot be used for the orders of erasure ({error}): name another file in {FILE}."
            ) from error

    def close(self) -> None:
        self._db.close()

    def add(self, person_id: UUID, cv_id: UUID, reason: str, who: str) -> Order:
        """Keep that this person is to be erased, and why now, even if an order of before has been carried out."""
        rows = self._db.execute(
            "insert into orders (id, person_id, cv_id, reason, who, ordered_at) values (?, ?, ?, ?, ?, ?)"
            " on conflict (person_id) do update set"
            " reason = excluded.reason, who = excluded.who, ordered_at = excluded.ordered_at, version = null"
            f" returning {_COLUMNS}",
            (str(uuid4()), str(person_id), str(cv_id), reason, who, time.time()),
        )
        [order] = map(_order, rows)
        return order

    def repeat_all(self) -> None:
        """Keep that every order is to be carried out again."""
        self._db.execute("update orders set version = null")

    def about(self, person_id: UUID) -> Order | None:
        row = self._db.execute(f"select {_COLUMNS} from orders where person_id = ?", (str(person_id),))
        return next(map(_order, row), None)

    def all(self) -> list[Order]:
        """Give all orders, the oldest first."""
        return [_order(row) for row in self._db.execute(f"select {_COLUMNS} from orders order by ordered_at")]

    def erased(self, order: Order, version: int) -> Order:
        """Note that the registry has erased the person at this version; receipts of earlier ones count no more."""
        self._db.execute("update orders set version = ? where id = ?", (version, str(order.id)))
        return replace(order, version=version)

    def keep(self, order: Order, service: str, receipt: Mapping[str, Any]) -> None:
        """Keep the receipt of a service that has removed all."""
        self._db.execute(
            "insert or replace into receipts (order_id, service, version, receipt, received_at) values (?, ?, ?, ?, ?)",
            (str(order.id), service, receipt["version"], json.dumps(receipt), time.time()),
        )

    def receipts(self, order: Order) -> dict[str, dict[str, Any]]:
        """Give the receipts by service, as far as they are of the newest erasure; one that is to come has none."""
        rows = self._db.execute(
            "select service, receipt from receipts where order_id = ? and version >= ?",
            (str(order.id), order.version),
        )
        return {service: json.loads(receipt) for service, receipt in rows}


def _order(row: tuple[Any, ...]) -> Order:
    order_id, person_id, cv_id, *more = row
    return Order(UUID(order_id), UUID(person_id), UUID(cv_id), *more)
