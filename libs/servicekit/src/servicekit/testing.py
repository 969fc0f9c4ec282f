"""What every test suite of ours needs: waiting for what will be true soon, without a sleep in a test."""

import asyncio
import functools
import inspect
import os
import secrets
import selectors
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, overload

T = TypeVar("T")
P = ParamSpec("P")

# Below the ports that a system gives to outgoing connections, or one of those may take the port of a server that is down.
_PORTS = range(10_000, 30_000)
_given: set[int] = set()


def ports_of_worker(environment: Mapping[str, str]) -> range:
    """Give the ports that a process of a test run may choose from: no two workers that a run begins with have any in common."""
    worker = environment.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return _PORTS
    workers = int(environment["PYTEST_XDIST_WORKER_COUNT"])
    return _PORTS[int(worker.removeprefix("gw")) % workers :: workers]


def free_port() -> int:
    """Give a port of the loopback that nobody listens on, another one at each call."""
    ports = ports_of_worker(os.environ)
    while True:
        port = secrets.choice(ports)
        with socket.socket() as probe:
            if port not in _given and probe.connect_ex(("127.0.0.1", port)) != 0:
                _given.add(port)
                return port


class _NeverWaiting(selectors.DefaultSelector):
    """Lets the time that it would have waited be over at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout and 0)
        if not ready and timeout:
            self.now += timeout
        return ready


def in_skipped_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Let a test that waits for nothing but the loop's time find it over at once, exactly as long as it was to be."""

    def make_loop() -> asyncio.AbstractEventLoop:
        selector = _NeverWaiting()
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now  # type: ignore[method-assign]  # a clock is no argument of the loop's
        return loop

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel what ran beside a test; raises what one of them had died of before, which nobody else would hear of."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


class StillFailing(AssertionError):  # noqa: N818 - said in a test report
    """The check did not hold in the time it was given; the text holds its last failure."""


@overload
async def eventually(
    check: Callable[[], Awaitable[T]],
    timeout: timedelta = ...,  # noqa: ASYNC109 - as below
    every: timedelta = ...,
) -> T: ...


@overload
async def eventually(check: Callable[[], T], timeout: timedelta = ..., every: timedelta = ...) -> T: ...  # noqa: ASYNC109


async def eventually(
    check: Callable[[], Any],
    timeout: timedelta = timedelta(seconds=60),  # noqa: ASYNC109 - the last failure is to be shown, not a cancellation
    every: timedelta = timedelta(milliseconds=20),
) -> Any:
    """Repeat `check` until it raises no exception and does not return False; give what it returned."""
    deadline = time.monotonic() + timeout.total_seconds()
    attempts = 0
    failure: Exception | None = None
    while True:
        attempts += 1
        before, failure = failure, None
        try:
            result = check()
            if inspect.isawaitable(result):
                async with asyncio.timeout(max(0.001, deadline - time.monotonic())):
                    result = await result
            if result is not False:
                return result
        except Exception as error:  # noqa: BLE001 - any failure may pass; the last one is shown
            failure = error
        if time.monotonic() >= deadline:
            if isinstance(failure, TimeoutError) and before is not None:
                failure = (
                    before  # Time was up before the last attempt ended; the one before it says what is wrong.
                )
            raise StillFailing(_text(check, attempts, timeout, failure)) from failure
        await asyncio.sleep(every.total_seconds())


def is_now(value: int, expected: int) -> None:
    """Check a number that is waited for, so that what it was instead is told."""
    if value != expected:
        raise AssertionError(f"{value}, not {expected}")


def _text(check: object, attempts: int, timeout: timedelta, failure: Exception | None) -> str:
    name = getattr(check, "__qualname__", repr(check))
    last = "returned False" if failure is None else f"{type(failure).__name__}: {failure}"
    return f"{name} still fails after {attempts} attempts in {timeout.total_seconds():g} s; last: {last}"
