"""`python -m cv_registry import FILE`: NDJSON of citizens with CVs, in chunks, resumable, refused lines reported."""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Container, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import file_digest
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import BinaryIO, Final

from cv_contracts.faults import FieldError
from cv_registry.imports.lines import (
    NewCitizen,
    ReadyCitizen,
    Refused,
    code_lists,
    prepare,
    read_line,
    ready,
)
from cv_registry.imports.report import Report
from cv_registry.imports.store import ChunkCollided, ImportStore
from cv_registry.intake import Intake, random_cv_number
from cv_registry.settings import SERVICE, Settings
from cv_registry.store_citizens import CitizenStore
from servicekit.data.postgres import Database
from servicekit.memory import collect_seldom
from servicekit.publish.outbox import Outbox

CHUNK: Final = 2_000
AHEAD: Final = 4
"""So many chunks are read and prepared before the one that is being written."""
MOST_WORKERS: Final = 8
ATTEMPTS: Final = 5
NUMBER_TAKEN: Final = FieldError("cvNumber", "is another citizen's, or was withdrawn")

Chunk = Sequence[tuple[int, bytes]]
Prepared = Sequence[ReadyCitizen | Refused]


@dataclass(slots=True)
class Summary:
    """What an import has done so far; lines and refusals are also those of the run that this one goes on with."""

    lines: int = 0
    imported: int = 0
    updated: int = 0
    refused: int = 0

    def text(self, seconds: float) -> str:
        done = self.imported + self.updated
        rate = round(done / seconds) if seconds else 0
        return (
            f"{self.lines} lines: {self.imported} imported, {self.updated} known before, "
            f"{self.refused} refused; {rate}/s"
        )


class Import:
    """One run over one file or stream. `workers` prepare the chunks while this process writes; without them, threads do."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        fingerprint: str | None,
        report: Report,
        workers: Executor | None = None,
    ) -> None:
        outbox = Outbox()
        self._code_lists = settings.code_lists
        self._citizens = CitizenStore(database, outbox)
        self._intake = Intake(self._citizens)
        self._store = ImportStore(database, outbox)
        self._fingerprint = fingerprint
        self._report = report
        self._workers = workers
        self.summary = Summary()

    async def run(self, source: BinaryIO) -> None:
        """Import all lines that an earlier, interrupted run of the same file has not."""
        lines = enumerate(source, start=1)
        if self._fingerprint is not None:
            done = await self._store.lines_done(self._fingerprint)
            self.summary.lines = sum(1 for _ in islice(lines, done))
            self.summary.refused = self._report.go_on_after(done)
        begun = time.monotonic()
        coming: deque[tuple[Chunk, Awaitable[Prepared]]] = deque()
        for chunk in iter(lambda: list(islice(lines, CHUNK)), []):
            coming.append((chunk, self._prepared(chunk)))
            if len(coming) > AHEAD:
                await self._take(*coming.popleft(), begun)
        while coming:
            await self._take(*coming.popleft(), begun)

    def _prepared(self, chunk: Chunk) -> Awaitable[Prepared]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._workers, prepare, chunk, self._code_lists)

    async def _take(self, chunk: Chunk, prepared: Awaitable[Prepared], begun: float) -> None:
        """Deal with a chunk. It counts as done at the end only; killed before it, all of it is dealt with again, harmlessly."""
        read = await prepared
        refused = [one for one in read if isinstance(one, Refused)]
        citizens = [one for one in read if isinstance(one, ReadyCitizen)]
        known, not_free = await self._save(citizens, dict(chunk))
        refused += [*not_free, *await self._update(known, dict(chunk))]
        self._report.add(sorted(refused, key=lambda one: one.line))
        self.summary.refused += len(refused)
        self.summary.lines = chunk[-1][0]
        if self._fingerprint is not None:
            await self._store.reached(self._fingerprint, self.summary.lines)
        print(self.summary.text(time.monotonic() - begun), file=sys.stderr)  # noqa: T201 - progress of a command

    async def _save(
        self, citizens: list[ReadyCitizen], lines: Mapping[int, bytes]
    ) -> tuple[list[ReadyCitizen], list[Refused]]:
        """Save those who are new; gives those who are known, and those whose CV number is not free."""
        for _ in range(ATTEMPTS):
            new, known = await self._sorted(citizens)
            numbered, refused = await self._numbered(new, lines)
            try:
                await self._store.save(numbered)
            except ChunkCollided:
                continue
            self.summary.imported += len(numbered)
            return known, refused
        raise RuntimeError("the same citizens are being registered from elsewhere")

    async def _sorted(self, citizens: list[ReadyCitizen]) -> tuple[list[ReadyCitizen], list[ReadyCitizen]]:
        """Part the citizens that are new from those known, or earlier in the same chunk."""
        seen = await self._store.there([c.person_number for c in citizens])
        new: list[ReadyCitizen] = []
        known: list[ReadyCitizen] = []
        for citizen in citizens:
            (known if citizen.person_number in seen else new).append(citizen)
            seen.add(citizen.person_number)
        return new, known

    async def _numbered(
        self, new: list[ReadyCitizen], lines: Mapping[int, bytes]
    ) -> tuple[list[ReadyCitizen], list[Refused]]:
        """Give each citizen a CV number that is free, and refuse those whose own number is not."""
        taken = await self._citizens.taken_numbers([c.cv_number for c in new if c.cv_number is not None])
        kept: list[ReadyCitizen] = []
        refused: list[Refused] = []
        for citizen in new:
            if citizen.cv_number not in taken:
                kept.append(citizen)
            elif citizen.numbered:
                refused.append(Refused(citizen.line, (NUMBER_TAKEN,)))
                continue
            else:
                kept.append(ready(self._read(citizen, lines), _number_beside(taken)))
            if (number := kept[-1].cv_number) is not None:
                taken.add(number)
        return kept, refused

    async def _update(self, known: list[ReadyCitizen], lines: Mapping[int, bytes]) -> list[Refused]:
        """Citizens that are there already go through the ordinary intake; the CV they have is left alone."""
        results = await self._intake.take_many([self._read(citizen, lines).told for citizen in known])
        refused = [
            Refused(citizen.line, result.errors)
            for citizen, result in zip(known, results, strict=True)
            if result.outcome == "refused"
        ]
        self.summary.updated += len(known) - len(refused)
        return refused

    def _read(self, citizen: ReadyCitizen, lines: Mapping[int, bytes]) -> NewCitizen:
        """Read a line again that was valid: rarely needed, so that what is kept of every line can be small."""
        read = read_line(citizen.line, lines[citizen.line], code_lists(self._code_lists))
        if isinstance(read, Refused):
            raise TypeError("a line was valid and is no longer")
        return read


def _number_beside(taken: Container[str]) -> str:
    while (number := random_cv_number()) in taken:
        pass
    return number


def _workers(settings: Settings) -> ProcessPoolExecutor:
    """Begin the processes now, before this one has connections or threads; they share the code lists with it."""
    code_lists(settings.code_lists)
    kind = "fork" if sys.platform == "linux" else "spawn"
    count = min(MOST_WORKERS, os.cpu_count() or 1)
    workers = ProcessPoolExecutor(count, get_context(kind), initializer=_begin_worker)
    for _ in range(count):
        workers.submit(os.getpid)
    return workers


def _begin_worker() -> None:
    """End with the process that writes, however it ends: a pool's processes would wait for work for ever."""
    collect_seldom()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)


async def run_import(settings: Settings, file: str) -> int:
    """Import a file, or standard input for "-"; give the exit code: 0, or 2 when lines were refused."""
    begun = time.monotonic()
    with ExitStack() as stack:
        path = None if file == "-" else Path(file)
        source = sys.stdin.buffer if path is None else stack.enter_context(_opened(path))
        workers = stack.enter_context(_workers(settings))
        database = await Database.connect(settings.postgres, f"{SERVICE}-import")
        try:
            fingerprint = None if path is None else _fingerprint(path)
            run = Import(settings, database, fingerprint, Report(path), workers)
            await run.run(source)
        finally:
            await database.close()
    print(run.summary.text(time.monotonic() - begun))  # noqa: T201 - the answer of a command
    return 2 if run.summary.refused else 0


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        sys.exit(f"{path} cannot be read: {error.strerror}.")


def _fingerprint(path: Path) -> str:
    """Tell one file from another, also where a single line was corrected."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
