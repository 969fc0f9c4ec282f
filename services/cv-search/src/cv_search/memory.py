"""Memory that the index's writer has freed, given back to the machine."""

import ctypes
from typing import Final

__all__ = ["give_back"]

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
"""The numbers of glibc's malloc.h."""
LARGE: Final = 1 << 20
"""Bytes of a block that goes back as soon as it is freed, and half of what may lie idle at the end of a heap."""


def give_back() -> None:
    """Keep glibc from raising these limits: after the first large merge it would keep tens of MB for the next one.

    Other C libraries have no such limits, and nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE)
