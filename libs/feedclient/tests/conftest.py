"""A feed that does what a test asks of it, over an httpx transport: the client under test sees HTTP only."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest


@dataclass
class ScriptedFeed:
    """A feed of numbered events. Positions are `e1:3`: the epoch and how many events came before."""

    epoch: int = 1
    events: list[dict[str, Any]] = field(default_factory=list)
    present: dict[str, int] = field(default_factory=dict)
    script: list[httpx.Response | Exception] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    scanned: int = 3
    """With a filter a page looks at so many events, as the real one does: it may be empty although there is more."""
    known: int = 10**9
    """A position above it is beyond what a restored feed knows; it is told so once, and then the feed has everything again."""

    def happen(self, subject: str, version: int, change: str = "replaced", **more: Any) -> str:
        number = len(self.events) + 1
        event = {
            "id": f"e{self.epoch}:{number}",
            "eventid": f"event-{subject}-{version}-{change}",
            "type": "dk.cvhub.cv-registry.cv-changed.v1",
            "subject": subject,
            "time": "2026-11-22T00:00:00Z",
            "data": {"version": version, "change": change, "cvNumber": "10000001"},
            **more,
        }
        self.events.append({k: v for k, v in event.items() if v is not None})
        self.present[subject] = version
        return str(event["id"])

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url.path) + "?" + request.url.query.decode())
        if self.script:
            answer = self.script.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        query = dict(request.url.params)
        if request.url.path.endswith("/snapshot"):
            return self._snapshot(query.get("after"), int(query.get("limit", 2)))
        return self._page(query.get("lastEventId"), int(query.get("limit", 2)), query.get("kind"))

    def _page(self, after: str | None, limit: int, change: str | None) -> httpx.Response:
        epoch, _, number = (after or f"e{self.epoch}:0").partition(":")
        if epoch != f"e{self.epoch}":
            return httpx.Response(410, json={"lastEventId": f"e{self.epoch}:0"})
        if int(number) > self.known:
            onwards, self.known = self.known, 10**9
            return httpx.Response(409, json={"lastEventId": f"e{self.epoch}:{onwards}"})
        events = self.events[int(number) : int(number) + (limit if change is None else self.scanned)]
        end = f"e{self.epoch}:{int(number) + len(events)}"
        headers = {"x-feed-from": after or f"e{self.epoch}:0", "x-feed-to": end}
        wanted = [one for one in events if change is None or one["data"]["change"] == change]
        return httpx.Response(200, content=json.dumps(wanted), headers=headers)

    def _snapshot(self, after: str | None, limit: int) -> httpx.Response:
        at, _, last = (after or f"{len(self.events)}/").partition("/")
        keys = [key for key in sorted(self.present) if key > last]
        page = keys[:limit]
        items = [
            {"cvId": key, "cvNumber": "10000001", "version": self.present[key], "change": "replaced"}
            for key in page
        ]
        following = f"{at}/{page[-1]}" if len(keys) > limit else None
        return httpx.Response(
            200, json={"position": f"e{self.epoch}:{at}", "next": following, "items": items}
        )


@pytest.fixture
def feed() -> ScriptedFeed:
    return ScriptedFeed()
