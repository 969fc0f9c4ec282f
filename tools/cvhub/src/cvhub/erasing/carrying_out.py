"""Erases a citizen in all services: keeps the order, lets the registry erase, and collects a receipt from each service."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx

from cvhub.erasing.orders import Order, Orders
from cvhub.operator import Calls, not_taken, place, wrongly_asked
from cvhub.servers.process import CannotStart
from cvhub.services import HOLDERS
from cvhub.state import State

__all__ = ["Away", "Erasing", "NotDone", "Services"]

REGISTRY = "cv-registry"
LOOK_SECONDS = 0.25

_PERSON_NUMBER = re.compile(r"[0-9]{10}")


class NotDone(Exception):  # noqa: N818 - what is the matter
    """A service answers that it failed, or that it cannot do this; of another citizen it may."""


class Away(NotDone):
    """A service does not answer, or not in time, or takes nothing from this operator: it would be the same of any citizen."""


class Services:
    """Gives services orders of erasure."""

    def __init__(self, state: State | None = None) -> None:
        self._calls = Calls(place(state))

    def __call__(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        try:
            answer = self._calls("POST", service, f"/internal/erasures{path}", json=body)
        except httpx.HTTPError as error:
            raise Away(f"{service} does not answer") from error
        match answer.status_code:
            case 200:
                return answer.json()
            case 401 | 403:
                raise Away(not_taken(service).removesuffix("."))
            case status if status >= httpx.codes.INTERNAL_SERVER_ERROR:
                raise NotDone(f"{service} answers {status}")
        raise NotDone(wrongly_asked(service, answer).removesuffix("."))


Call = Callable[[str, str, Mapping[str, Any]], Any]


class Erasing:
    """Carries out orders. Each step may be done again: whoever dies in between, `--pending` goes on."""

    def __init__(self, orders: Orders, call: Call, holders: Sequence[str] = HOLDERS) -> None:
        self.orders = orders
        self._call = call
        self._holders = holders

    def order(self, person: str, reason: str, who: str) -> Order:
        """Keep the order to erase the citizen with this person number or random id, before anything is removed."""
        asked, why = _named(person), _checked(reason, who)
        found = self._call(REGISTRY, "/find", asked)
        if found:
            _check_merged(found)
            return self.orders.add(UUID(found["personId"]), UUID(found["cvId"]), **why)
        known = self.orders.about(UUID(asked["personId"])) if "personId" in asked else None
        if known is None:
            raise CannotStart("The registry has no such citizen. Orders that were begun go on by --pending.")
        return known if known.version is not None else self.orders.add(known.person_id, known.cv_id, **why)

    def carry_out(self, order: Order) -> Order:
        """Let the registry erase and publish it by a higher version: followers that were restored hear of it once more."""
        answer = self._call(
            REGISTRY,
            "",
            {
                "personId": str(order.person_id),
                "cvId": str(order.cv_id),
                "why": {"who": order.who, "reason": order.reason},
                "again": True,
            },
        )
        return self.orders.erased(order, int(answer["personVersion"]))

    def collect(
        self, orders: Sequence[Order], seconds: float, told: Callable[[Order, str, Mapping[str, Any]], None]
    ) -> dict[str, NotDone]:
        """Wait so long for all receipts of these orders; `told` hears of each as it comes. Gives what the services fail with, by service."""
        deadline = time.monotonic() + seconds
        while True:
            trouble = dict[str, NotDone]()
            for service in self._holders:
                for order in orders:
                    try:
                        if service in self.missing(order) and (receipt := self._receipt(order, service)):
                            told(order, service, receipt)
                    except NotDone as error:
                        trouble[service] = error
                        if isinstance(error, Away):
                            break
            if not any(map(self.missing, orders)) or time.monotonic() >= deadline:
                return trouble
            time.sleep(LOOK_SECONDS)

    def _receipt(self, order: Order, service: str) -> Mapping[str, Any] | None:
        ids = {"personId": str(order.person_id), "cvId": str(order.cv_id)}
        receipt: Mapping[str, Any] = self._call(service, "/receipts", ids)
        if not _is_whole(receipt, order):
            return None
        self.orders.keep(order, service, receipt)
        return receipt

    def missing(self, order: Order) -> list[str]:
        """Name the services whose receipt is not there yet."""
        given = self.orders.receipts(order)
        return [service for service in self._holders if service not in given]

    def open_orders(self) -> list[Order]:
        """Give the orders that were not carried out, or lack a receipt."""
        return list(filter(self.missing, self.orders.all()))


def _check_merged(found: Mapping[str, Any]) -> None:
    """Refuse to erase one half of a person: whoever was merged into this one holds the rest of the history."""
    if merged := found.get("merged"):
        raise CannotStart(f"Persons were merged into this one; erase them first: {', '.join(merged)}.")


def _named(person: str) -> dict[str, str]:
    plain = person.strip().replace("-", "") if len(person.strip()) <= len("000000-0000") else person.strip()
    if _PERSON_NUMBER.fullmatch(plain):
        return {"personNumber": plain}
    try:
        return {"personId": str(UUID(plain))}
    except ValueError:
        raise CannotStart("Name the citizen by the person number (10 digits) or the person id.") from None


def _checked(reason: str, who: str) -> dict[str, str]:
    """Give why, as the registry will take it: what it refuses would be kept and refused for ever."""
    from pydantic import ValidationError  # noqa: PLC0415 - `--help` comes faster without

    from servicekit.follow.operations import WhyBody  # noqa: PLC0415

    try:
        return WhyBody(reason=reason, who=who).model_dump()
    except ValidationError as error:
        wrong = "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())
        raise CannotStart(f"Nothing is erased, and no order is kept: {wrong}.") from None


def _is_whole(receipt: Mapping[str, Any], order: Order) -> bool:
    version = receipt["version"]
    return (
        order.version is not None and version is not None and version >= order.version and not receipt["left"]
    )
