"""A process that dies leaves no copy of its memory: citizens' data and keys would be in it."""

import ctypes
import os
import resource
import sys
from typing import Final

__all__ = ["no_core_dumps"]

SMALLEST: Final = 1
"""In bytes. 0 keeps the kernel from writing a file only, and not from giving the memory to a program that `core_pattern` names;
1 stands for neither (core(5), and `do_coredump` in Linux)."""

_PR_SET_DUMPABLE: Final = 4


def no_core_dumps() -> None:
    """Forbid dumps for this process, for good, and for all that it starts, by a limit that they inherit.

    Where the limit is 0 already, it cannot be 1 any more: so Linux is told too that the process cannot be dumped at all. Programs
    that it starts must say that themselves. Nobody but root can look into it then, by a debugger or `/proc/PID/environ`.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = SMALLEST if most == resource.RLIM_INFINITY else min(SMALLEST, most)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    if sys.platform == "linux":
        _not_dumpable()


def _not_dumpable() -> None:
    nothing = ctypes.c_ulong(0)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, nothing, nothing, nothing, nothing) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
