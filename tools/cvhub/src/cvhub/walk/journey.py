"""What the steps of the walk share: who walks, how a call is made, what a step saw."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer

from cvhub.people import Person
from cvhub.state import Run, State

__all__ = ["CLIENT", "JOBNET", "PATIENCE", "Journey", "NotAsItShould", "Seen", "Step", "expect", "fault"]

JOBNET = "101:1"
CLIENT = "walk"
"""One system that acts for all organisations: a consistency token is good only for the client that was given it."""
PATIENCE = 60.0
"""Seconds in which a call that is answered 503 is made again: a machine that has just filled everything may be busy."""


class NotAsItShould(Exception):  # noqa: N818 - said to the user as it stands
    """A step did something else than it should have done."""


@dataclass
class Journey:
    """What the steps hand on to each other. `organisation` is written type:code."""

    state: State
    run: Run
    client: httpx.AsyncClient
    events: AIOKafkaConsumer
    person: Person
    stranger: str
    summary: str
    tokens: dict[str, str] = field(default_factory=dict)
    message_id: str = ""
    consistency: str = ""
    address: str = ""
    code: str = ""

    @property
    def gateway(self) -> str:
        return self.run.url("gateway")

    def headers(self, organisation: str, user_type: int = 2) -> dict[str, str]:
        kind, _, code = organisation.partition(":")
        return {
            "x-activeorganisation-type": kind,
            "x-activeorganisation-code": code,
            "x-requestuser-name": "En%20Sagsbehandler",
            "x-requestuser-type": str(user_type),
            "x-requestuser-identifier": "gennemgang",
        }

    async def call(
        self, verb: str, path: str, organisation: str, *, headers: Mapping[str, str], body: Any = None
    ) -> httpx.Response:
        """Call the gateway; where it says when to come back, come back."""
        sent = {
            **self.headers(organisation),
            **headers,
            "authorization": f"Bearer {self.tokens[organisation]}",
        }
        until = time.monotonic() + PATIENCE
        while True:
            answer = await self.client.request(verb, self.gateway + path, headers=sent, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > until:
                return answer
            await asyncio.sleep(int(answer.headers.get("retry-after", "1")))

    def curl(
        self,
        verb: str,
        path: str,
        organisation: str,
        scope: str,
        headers: Mapping[str, str],
        *,
        data: str | None = None,
    ) -> str:
        token = f"$(cvhub token --client {CLIENT} --organisation {organisation} --scope {scope})"
        sent = {"authorization": f"Bearer {token}", **self.headers(organisation), **headers}
        if data:
            sent["content-type"] = "application/json"
        lines = [f"curl -X {verb} {quote(self.gateway + path)}", *(f"-H '{n}: {v}'" for n, v in sent.items())]
        lines[1] = lines[1].replace("'", '"')
        return " \\\n  ".join([*lines, *([f"-d {data}"] if data else [])])


@dataclass(frozen=True)
class Seen:
    """What a step saw, and the command that shows the same."""

    what: str
    command: str


Step = Callable[[Journey], Awaitable[Seen]]


def expect(answer: httpx.Response, status: int) -> Any:
    if answer.status_code != status:
        raise NotAsItShould(f"{answer.status_code} instead of {status}: {answer.text[:500]}")
    return answer.json()


def fault(answer: httpx.Response, status: int, code: int) -> str:
    problem = expect(answer, status)
    if problem.get("code") != code:
        raise NotAsItShould(f"fault {problem.get('code')} instead of {code}")
    return f"{status}, fault {code}: {problem['title']}"
