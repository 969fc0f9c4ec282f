"""A process that dies leaves no copy of its memory: citizens' data and keys would be in it."""

import resource
from typing import Final

__all__ = ["no_core_dumps"]

SMALLEST: Final = 1
"""In bytes. 0 keeps the kernel from writing a file only, and not from giving the memory to a program that `core_pattern` names;
1 stands for neither (core(5), and `do_coredump` in Linux)."""


def no_core_dumps() -> None:
    """Forbid dumps for this process and all that it starts, for good."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = SMALLEST if most == resource.RLIM_INFINITY else min(SMALLEST, most)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
