"""What the writer frees goes back to the machine."""

import platform
import subprocess
import sys

import pytest

CHILD = """
from resource import getpagesize

from cv_search.memory import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * getpagesize()

if {gives_back}:
    give_back()
bytearray(16 << 20)
before = resident()
blocks = [bytearray(600_000) for _ in range(20)]
del blocks
print(resident() - before)
"""


def _kept(*, gives_back: bool) -> int:
    child = CHILD.format(gives_back=gives_back)
    told = subprocess.run([sys.executable, "-c", child], capture_output=True, check=True)  # noqa: S603 - our own
    return int(told.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps by other rules")
def test_a_large_block_once_freed_is_no_reason_to_keep_the_next_ones() -> None:
    assert _kept(gives_back=True) < 4 << 20 < _kept(gives_back=False)
