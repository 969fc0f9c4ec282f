"""Passwords of account letters: how they look, and how many are hashed at once."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from threading import Lock
from time import sleep

import pytest

from cv_contracts.faults import Unavailable
from cv_registry import passwords
from cv_registry.passwords import ALPHABET, AT_ONCE, LOGINS_MOST, Passwords, random_password
from servicekit.observe import metrics

SECONDS = 0.05
"""What each run of the slow hasher takes."""


class SlowHasher:
    """Takes its time for every run, and counts the runs and how many were under way at once."""

    def __init__(self) -> None:
        self.runs = 0
        self.most = 0
        self._running = 0
        self._lock = Lock()

    def hash(self, password: str) -> str:
        self._run()
        return f"hash of {password}"

    def verify(self, hashed: str, password: str) -> bool:
        self._run()
        return hashed == f"hash of {password}"

    def _run(self) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        sleep(SECONDS)
        with self._lock:
            self._running -= 1
            self.runs += 1


def hashed(text: str | None) -> Callable[[], Awaitable[str | None]]:
    async def find() -> str | None:
        return text

    return find


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> SlowHasher:
    hasher = SlowHasher()
    monkeypatch.setattr(passwords, "PasswordHasher", lambda: hasher)
    return hasher


@pytest.fixture
def slow(hasher: SlowHasher) -> Iterator[Passwords]:
    with closing(Passwords()) as slow:
        yield slow


def test_a_password_can_be_read_aloud_and_none_comes_twice() -> None:
    made = {random_password() for _ in range(1_000)}
    assert len(made) == 1_000
    form = re.compile(rf"[{ALPHABET}]{{4}}(-[{ALPHABET}]{{4}}){{3}}")
    assert all(form.fullmatch(password) for password in made)
    assert not set("0o1il5s2z6bq9gvwOIBS") & (set(ALPHABET) - set("bg"))


@pytest.mark.slow
async def test_a_flood_of_logins_keeps_no_letter_waiting_and_those_too_many_are_told_to_come_back(
    slow: Passwords, hasher: SlowHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, counted = list[str](), list[str]()
    monkeypatch.setattr(metrics, "count", counted.append)

    async def find() -> str:
        read.append("hash of x")
        return "hash of x"

    logins = [asyncio.create_task(slow.is_right("x", find)) for _ in range(200)]
    await asyncio.sleep(0)
    await slow.hash("y")
    assert hasher.runs < LOGINS_MOST, "it waited for logins"
    answers = await asyncio.gather(*logins, return_exceptions=True)
    assert answers.count(True) == LOGINS_MOST
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert len(refused) == 200 - LOGINS_MOST
    assert {answer.headers()["retry-after"] for answer in refused} == {"1"}
    assert len(read) == LOGINS_MOST, "of those who are refused nothing is read"
    assert counted == ["requests.shed"] * len(refused)
    assert [await slow.is_right("x", hashed(text)) for text in ("hash of x", "hash of y", None)] == [
        True,
        False,
        False,
    ]


@pytest.mark.slow
async def test_calls_that_are_cut_off_in_mid_run_never_make_more_run_at_once(
    slow: Passwords, hasher: SlowHasher
) -> None:
    for _ in range(20):
        cut_off = [
            asyncio.create_task(call) for call in (slow.is_right("x", hashed("hash of x")), slow.hash("x"))
        ]
        await asyncio.sleep(SECONDS / 10)
        for call in cut_off:
            call.cancel()
        await asyncio.wait(cut_off)
    assert await slow.is_right("x", hashed("hash of x")) is True
    assert 0 < hasher.most <= AT_ONCE
