"""Erases a citizen in all services: keeps the order, lets the registry erase, and collects a receipt from each service."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx

from cvhub.erasing.orders import Order, Orders
from cvhub.operator import Calls, not_taken, place, wrongly_asked
from cvhub.servers.process import CannotStart
from cvhub.services import HOLDERS
from cvhub.state import State

__all__ = ["Away", "Erasing", "Services"]

REGISTRY = "cv-registry"
LOOK_SECONDS = 0.25

_PERSON_NUMBER = re.compile(r"[0-9]{10}")


class Away(Exception):  # noqa: N818 - what is the matter
    """A service does not answer, or not in time; or its answer, of the status `answered`, is that it failed."""

    def __init__(self, service: str, answered: int | None = None) -> None:
        super().__init__(f"{service} " + ("does not answer" if answered is None else f"answers {answered}"))
        self.answered = answered


class Services:
    """Gives services orders of erasure."""

    def __init__(self, state: State | None = None) -> None:
        self._calls = Calls(place(state))

    def __call__(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        try:
            answer = self._calls("POST", service, f"/internal/erasures{path}", json=body)
        except httpx.HTTPError as error:
            raise Away(service) from error
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise Away(service, answer.status_code)
        if answer.status_code != httpx.codes.OK:
            raise CannotStart(_refusal(service, answer))
        return answer.json()


def _refusal(service: str, answer: httpx.Response) -> str:
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return not_taken(service)
    return wrongly_asked(service, answer)


Call = Callable[[str, str, Mapping[str, Any]], Any]


class Erasing:
    """Carries out orders. Each step may be done again: whoever dies in between, `--pending` goes on."""

    def __init__(self, orders: Orders, call: Call, holders: Sequence[str] = HOLDERS) -> None:
        self._orders = orders
        self._call = call
        self.holders = holders

    def order(self, person: str, reason: str, who: str) -> Order:
        """Keep the order to erase the citizen with this person number or random id, before anything is removed."""
        asked = _named(person)
        found = self._call(REGISTRY, "/find", asked)
        if found:
            _check_merged(found)
            kept = self._orders.add(UUID(found["personId"]), UUID(found["cvId"]), reason, who)
            # Whoever is here is to be erased, even if an order of before a restore has been carried out.
            return replace(kept, version=None)
        known = self._orders.about(UUID(asked["personId"])) if "personId" in asked else None
        if known is None:
            raise CannotStart("The registry has no such citizen. Orders that were begun go on by --pending.")
        return known

    def carry_out(self, order: Order, *, again: bool = False) -> Order:
        """Let the registry erase and publish it. `again` makes every follower hear of it once more."""
        answer = self._call(
            REGISTRY,
            "",
            {
                "personId": str(order.person_id),
                "cvId": str(order.cv_id),
                "why": {"who": order.who, "reason": order.reason},
                "again": again,
            },
        )
        return self._orders.erased(order, int(answer["personVersion"]))

    def receipts(self, order: Order) -> dict[str, dict[str, Any]]:
        """Give the receipts there are, asking the services that have given none yet."""
        given = self._orders.receipts(order)
        ids = {"personId": str(order.person_id), "cvId": str(order.cv_id)}
        for service in self.holders:
            if service in given:
                continue
            try:
                receipt = self._call(service, "/receipts", ids)
            except Away:
                continue
            if _is_whole(receipt, order):
                self._orders.keep(order, service, receipt)
                given[service] = receipt
        return given

    def collect(
        self, order: Order, seconds: float, told: Callable[[str, Mapping[str, Any]], None]
    ) -> dict[str, dict[str, Any]]:
        """Wait so long for all receipts; `told` hears of each as it comes."""
        deadline = time.monotonic() + seconds
        heard: set[str] = set()
        while True:
            given = self.receipts(order)
            for service in self.holders:
                if service in given and service not in heard:
                    heard.add(service)
                    told(service, given[service])
            if len(given) == len(self.holders) or time.monotonic() >= deadline:
                return given
            time.sleep(LOOK_SECONDS)

    def open_orders(self) -> list[Order]:
        """Give the orders that were not carried out, or lack a receipt."""
        return [
            order
            for order in self._orders.all()
            if order.version is None or len(self._orders.receipts(order)) < len(self.holders)
        ]


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


def _is_whole(receipt: Mapping[str, Any], order: Order) -> bool:
    version = receipt["version"]
    return (
        order.version is not None and version is not None and version >= order.version and not receipt["left"]
    )
