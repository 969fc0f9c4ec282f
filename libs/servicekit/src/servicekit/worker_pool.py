"""Worker processes: work that is too slow, too large or deadly costs one of them and its own request, no other.

WorkFailed
├── WorkCrowded   too much work waits already
├── TooSlow       it took longer than it may; its process was killed
├── WorkerDied    the process ended over it: by its bound of processor time or memory, or otherwise
└── WorkRefused   the worker answers that it cannot be done; the text is its own
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from signal import SIGPROF
from types import TracebackType
from typing import Final, Self

import structlog

from servicekit.worker_process import LAST, LENGTH, READY, WORKED

__all__ = ["TooSlow", "WorkCrowded", "WorkFailed", "WorkRefused", "WorkerDied", "Workers", "WorkersPlan"]

log = structlog.get_logger(__name__)

START_WITHIN: Final = 30.0
LONGEST_REST: Final = 5.0
LARGEST_ANSWER: Final = 256 * 1024 * 1024


class WorkFailed(Exception):  # noqa: N818 - says what happened
    """There is no result. The text says nothing of what was asked."""


class WorkCrowded(WorkFailed):
    """Too much work waits already."""


class TooSlow(WorkFailed):
    """It took longer than it may, by the clock or of a processor; its process is gone."""


class WorkerDied(WorkFailed):
    """The process ended over it, or was killed from outside."""


class WorkRefused(WorkFailed):
    """The worker says that it cannot be done; `kind` and `said` are its own."""

    def __init__(self, kind: bytes, said: bytes) -> None:
        super().__init__()
        self.kind = kind
        self.said = said


@dataclass(frozen=True, slots=True)
class WorkersPlan:
    """How many processes of which program, and how long each may take and last. Times are in seconds."""

    program: Sequence[str]
    """Arguments of Python, as in `-m package.module argument`; the program calls `servicekit.worker_process.serve`."""
    processes: int
    timeout: float
    """Longest time for one piece of work, by the clock, from when a process took it."""
    pieces: int
    """Pieces of work after which a process is replaced by a new one."""
    waiting: int
    """Pieces that may wait for a process; further ones are refused at once."""
    environment: Mapping[str, str] = field(default_factory=dict)


class _Worker:
    """One process, at the other end of a socket. Used for one piece at a time; after a failure it is good for nothing."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.pieces = 0
        self.worn = False

    @classmethod
    async def start(cls, plan: WorkersPlan) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - returns at once; our own program
                (sys.executable, "-I", *plan.program),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(plan.environment),
            )
        try:
            streams = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            process.kill()
            process.wait()
            raise
        worker = cls(process, *streams)
        try:
            async with asyncio.timeout(START_WITHIN):
                await worker._begun()
        except BaseException:
            await worker.stop()
            raise
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._reader.at_eof() and self._process.poll() is None

    async def work(self, asked: bytes) -> bytes:
        try:
            self._writer.write(LENGTH.pack(len(asked)) + asked)
            await self._writer.drain()
        except OSError:
            raise WorkerDied from None
        kind, answer = await self._receive()
        self.pieces += 1
        self.worn = kind == LAST
        if kind not in (WORKED, LAST):
            raise WorkRefused(kind, answer)
        return answer

    async def _begun(self) -> None:
        kind, _ = await self._receive()
        if kind != READY:
            raise WorkerDied

    async def _receive(self) -> tuple[bytes, bytes]:
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            if not 1 <= length <= LARGEST_ANSWER:
                raise WorkerDied
            frame = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            raise await self._why() from None
        return frame[:1], frame[1:]

    async def _why(self) -> WorkFailed:
        """Say why the process has closed its end: it has spent its processor time, or something else."""
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, 1)
        return TooSlow() if self._process.poll() == -SIGPROF else WorkerDied()

    async def stop(self) -> None:
        self._process.kill()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        await asyncio.to_thread(self._process.wait)


class Workers:
    """A fixed number of worker processes, each replaced when it is worn out or gone. Use as a context manager."""

    def __init__(self, plan: WorkersPlan) -> None:
        self._plan = plan
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._all: set[_Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        for _ in range(self._plan.processes):
            self._replace()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in self._all))

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are there now."""
        return [worker.pid for worker in self._all if worker.alive]

    @property
    def idle(self) -> bool:
        """Whether one of them has nothing to do."""
        return not self._idle.empty()

    async def ready(self) -> dict[str, int]:
        """Show how many workers there are; raises WorkerDied when there is none."""
        if not self.pids:
            raise WorkerDied
        return {"active": len(self.pids), "waiting": self._waiting}

    async def work(self, asked: bytes) -> bytes:
        """Do one piece of work, or raise WorkFailed.

        A worker may have been killed for no fault of the work's, so a second one tries.
        """
        try:
            return await self._work(asked)
        except WorkerDied:
            return await self._work(asked)

    async def _work(self, asked: bytes) -> bytes:
        """Let one worker do it; one that anything but an answer came out of is not used again."""
        worker = await self._lend()
        usable = False
        try:
            async with asyncio.timeout(self._plan.timeout):
                answer = await worker.work(asked)
            usable = True
        except TimeoutError:
            log.warning("work_cost_a_worker", error_type=TooSlow.__name__)
            raise TooSlow from None
        except WorkRefused:
            usable = True
            raise
        except WorkFailed as error:
            log.warning("work_cost_a_worker", error_type=type(error).__name__)
            raise
        finally:
            if usable and not worker.worn and worker.pieces < self._plan.pieces:
                self._idle.put_nowait(worker)
            else:
                self._replace(worker)
        return answer

    async def _lend(self) -> _Worker:
        if not self.idle and self._waiting >= self._plan.waiting:
            raise WorkCrowded
        self._waiting += 1
        try:
            while not (worker := await self._idle.get()).alive:
                self._replace(worker)
        finally:
            self._waiting -= 1
        return worker

    def _replace(self, worker: _Worker | None = None) -> None:
        if self._closed:
            return
        task = asyncio.create_task(self._start(worker), name="start a worker")
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, old: _Worker | None) -> None:
        if old is not None:
            await old.stop()
            self._all.remove(old)
        rest = 0.1
        while True:
            try:
                worker = await _Worker.start(self._plan)
            except (WorkFailed, OSError, TimeoutError) as error:
                log.error("worker_does_not_start", error_type=type(error).__name__)  # noqa: TRY400 - may quote nothing
                await asyncio.sleep(rest)
                rest = min(2 * rest, LONGEST_REST)
            else:
                self._all.add(worker)
                self._idle.put_nowait(worker)
                return
