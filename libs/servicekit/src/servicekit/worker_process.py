"""The inside of a worker process: frames come in on standard input, one answer each goes out on the same socket.

A frame is a length of four bytes and so many bytes; an answer begins with its kind. The process may die over any frame:
whoever started it (`servicekit.worker_pool`) counts on nothing but the frames.
"""

import os
import signal
import struct
from collections.abc import Callable
from typing import BinaryIO, Final

__all__ = ["FAILED", "LAST", "LENGTH", "READY", "WORKED", "serve"]

LENGTH: Final = struct.Struct(">I")
READY, WORKED, LAST, FAILED = b"r", b"d", b"l", b"f"
"""LAST is WORKED, by a process that should be asked nothing more."""

GIVES_WAY: Final = 5
"""Whoever waits for a short answer is served first where processors are short."""

Work = Callable[[bytes], tuple[bytes, bytes]]
"""Gives the kind of the answer and its content. What it raises ends the process."""


def serve(work: Work, budget: float, worn: Callable[[], bool] = lambda: False) -> None:
    """Answer until the other side closes. A frame that takes more than `budget` seconds of a processor ends the process.

    `worn` says after each piece of work whether it was the last one that this process should do.
    """
    os.nice(GIVES_WAY)
    into, out = os.fdopen(0, "rb"), os.fdopen(os.dup(0), "wb")
    _send(out, READY, b"")
    while (frame := _receive(into)) is not None:
        # The signal's default is the end: no thread of ours or of an engine's goes on after it.
        signal.setitimer(signal.ITIMER_PROF, budget)
        kind, answer = work(frame)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(out, LAST if kind == WORKED and worn() else kind, answer)


def _receive(into: BinaryIO) -> bytes | None:
    head = into.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    frame = into.read(length)
    return frame if len(frame) == length else None


def _send(out: BinaryIO, kind: bytes, content: bytes) -> None:
    out.write(LENGTH.pack(len(kind) + len(content)) + kind + content)
    out.flush()
