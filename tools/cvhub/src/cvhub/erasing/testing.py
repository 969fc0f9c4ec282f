"""For tests of erasing: the services, as an operator's calls meet them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from cvhub.erasing.carrying_out import Away, NotDone

__all__ = ["HOLDERS", "NUMBER", "Dies", "Registered", "System"]

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
            raise Away(f"{service} does not answer")
        if service in self.failing:
            raise NotDone(f"{service} answers 503")
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


@dataclass
class Registered:
    """Several citizens, each in a system of its own."""

    systems: list[System]
    asked: list[str] = field(default_factory=list)

    def __call__(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        self.asked.append(path)
        of = next(system for system in self.systems if str(system.person) == body["personId"])
        return of(service, path, body)
