"""A document has bounded time and memory, and what it costs is its own."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import psutil
import pytest

from pdf_renderer import worker
from pdf_renderer.cv_testing import SAMPLE, cv_of, made, profile
from pdf_renderer.rendering import plan_of, render
from pdf_renderer.settings import WorkerSettings
from pdf_renderer.typesetting import Typesetter
from servicekit.testing import eventually
from servicekit.worker_pool import TooSlow, WorkCrowded, WorkerDied, Workers, WorkRefused

pytestmark = pytest.mark.slow


def shown(seed: int) -> bytes:
    return orjson.dumps(cv_of("cv", made(seed)).shown())


def huge() -> bytes:
    job = {"JobTitle": "x", "StartDate": {"Year": "2001"}, "SummaryText": "ord æøå " * 1_000}
    return orjson.dumps(cv_of("cv", profile(PreviousJobExperienceCollection=[job] * 200)).shown())


async def test_a_worker_gives_what_this_process_would(workers: Workers, typesetter: Typesetter) -> None:
    document = cv_of("frozen", SAMPLE).shown()
    assert await render(workers, "v1", orjson.dumps(document)) == typesetter.render("v1", document)


async def test_a_document_that_takes_too_long_is_given_up_and_others_are_rendered() -> None:
    async with Workers(plan_of(WorkerSettings(processes=1, timeout=timedelta(seconds=0.5)))) as workers:
        with pytest.raises(TooSlow):
            await render(workers, "v1", huge())
        workers._plan = replace(workers._plan, timeout=20.0)
        assert await render(workers, "v1", shown(0))


async def test_a_document_beyond_the_memory_bound_ends_its_worker_only() -> None:
    async with Workers(plan_of(WorkerSettings(processes=1, memory_mb=320))) as workers:
        with pytest.raises(WorkerDied):
            await render(workers, "v1", huge())
        assert await render(workers, "v1", shown(0))


def test_where_the_system_does_not_tell_of_memory_no_worker_is_worn_by_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert worker._megabytes() > 0
    monkeypatch.setattr(worker, "_STATM", str(tmp_path / "statm"))
    assert worker._megabytes() == 0


async def test_what_is_refused_costs_no_worker() -> None:
    async with Workers(plan_of(WorkerSettings(processes=1))) as workers:
        await render(workers, "v1", shown(0))
        before = workers.pids
        with pytest.raises(WorkRefused):
            await render(workers, "no such template", shown(1))
        assert await render(workers, "v1", shown(0))
        assert workers.pids == before


async def test_a_worker_killed_while_it_waits_is_not_lent_and_is_replaced() -> None:
    async with Workers(plan_of(WorkerSettings(processes=1))) as workers:
        await render(workers, "v1", shown(0))
        killed = workers.pids[0]
        os.kill(killed, signal.SIGKILL)
        assert await render(workers, "v1", shown(1))
        assert killed not in workers.pids


async def test_a_worn_worker_is_replaced() -> None:
    async with Workers(plan_of(WorkerSettings(processes=1, documents=2))) as workers:
        seen = set()
        for seed in range(6):
            await render(workers, "v1", shown(seed))
            seen.update(workers.pids)
        assert len(seen) >= 2


async def test_a_worker_that_grew_large_is_replaced() -> None:
    async with Workers(plan_of(WorkerSettings(processes=1, worn_mb=1))) as workers:
        await render(workers, "v1", shown(0))
        first = set(workers.pids)
        await render(workers, "v1", shown(1))
        assert first.isdisjoint(workers.pids)


async def test_beyond_the_queue_documents_are_refused_at_once() -> None:
    async with Workers(plan_of(WorkerSettings(processes=1, waiting=2))) as workers:
        await render(workers, "v1", shown(0))
        asked = [asyncio.create_task(render(workers, "v1", shown(seed))) for seed in range(6)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(answer, WorkCrowded) for answer in answers) == 3
        assert sum(isinstance(answer, bytes) for answer in answers) == 3


async def test_workers_hold_no_secret_and_leave_with_the_service() -> None:
    async with Workers(plan_of(WorkerSettings(processes=1))) as workers:
        await render(workers, "v1", shown(0))
        worker = psutil.Process(workers.pids[0])
        if sys.platform != "linux" or os.geteuid() == 0:
            assert set(worker.environ()) == {"RAYON_NUM_THREADS", "MALLOC_ARENA_MAX"}
            assert worker.open_files() == []
            assert worker.net_connections("inet") == []
        else:
            with pytest.raises(psutil.AccessDenied):
                worker.environ()

    def gone() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return not worker.is_running()
        return True

    await eventually(gone)


TELL_WHAT_IS_HELD = """
import json, os, socket, stat
from pdf_renderer import worker
from servicekit.worker_process import WORKED, serve

def kinds():
    for number in range(256):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode):
            yield "file"
        elif stat.S_ISSOCK(mode):
            yield socket.socket(fileno=os.dup(number)).family.name

def tell(_):
    return WORKED, json.dumps([sorted(os.environ), sorted({*kinds()})]).encode()

worker.serve = lambda render, seconds, worn: serve(tell, seconds)
worker.main()
"""
SET_BY_THE_SYSTEM = {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}


async def test_a_worker_itself_finds_nothing_but_its_two_settings_and_the_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POSTGRES__DSN", "postgresql://secret")
    workers = Workers(plan_of(WorkerSettings(processes=1)))
    _, _, *limits = workers._plan.program
    workers._plan = replace(workers._plan, program=("-c", TELL_WHAT_IS_HELD, *limits))
    async with workers:
        environment, held = orjson.loads(await render(workers, "v1", b"{}"))
    assert {*environment} - SET_BY_THE_SYSTEM == {"RAYON_NUM_THREADS", "MALLOC_ARENA_MAX"}
    assert held == ["AF_UNIX"]


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"{}", b'{"kind":"x"}'])
async def test_what_is_no_document_gives_none(workers: Workers, garbage: bytes) -> None:
    with pytest.raises(WorkRefused):
        await render(workers, "v1", garbage)
