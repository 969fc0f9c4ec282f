"""No process of ours leaves a dump of its memory."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

MOST = resource.getrlimit(resource.RLIMIT_CORE)[1]
LEAST = 1 if MOST == resource.RLIM_INFINITY else min(1, MOST)
FORBID = "from servicekit.dumps import no_core_dumps; no_core_dumps()"
TELL = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
TELL_AS_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {TELL!r}])"


TELL_DUMPABLE = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
NOBODY = "import os; os.getuid() or os.setuid(65534)"
WATCH = "import os; print(int(open('/proc/self/statm').read().split()[1]) > 0, len(os.listdir('/proc/self/fd')) > 2)"


def run(code: str, folder: Path, most: int = MOST) -> "subprocess.CompletedProcess[str]":
    """Run code in a process that may leave dumps of that size."""
    may = f"import resource; resource.setrlimit(resource.RLIMIT_CORE, ({most}, {most}))"
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"{may}\n{code}"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_neither_a_process_nor_one_that_it_starts_may_leave_a_dump(tmp_path: Path) -> None:
    for code in (f"{FORBID}\n{TELL}", f"{FORBID}\n{TELL_AS_CHILD}", f"{FORBID}\n{FORBID}\n{TELL}"):
        assert run(code, tmp_path).stdout.strip() == str((LEAST, LEAST))


def test_where_dumps_are_forbidden_already_they_stay_so(tmp_path: Path) -> None:
    assert run(f"{FORBID}\n{TELL}", tmp_path, 0).stdout.strip() == "(0, 0)"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands a dump to a program")
def test_linux_gives_the_memory_to_no_program_either_also_where_the_limit_was_0(tmp_path: Path) -> None:
    for most in (MOST, 0):
        assert run(f"{FORBID}\n{TELL_DUMPABLE}", tmp_path, most).stdout.strip() == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_process_without_rights_still_sees_what_it_watches_of_itself(tmp_path: Path) -> None:
    assert (
        run(f"{FORBID.partition(';')[0]}\n{NOBODY}\nno_core_dumps()\n{WATCH}", tmp_path).stdout
        == "True True\n"
    )


def test_a_process_that_dies_leaves_none(tmp_path: Path) -> None:
    assert run(f"{FORBID}\nimport os; os.abort()", tmp_path).returncode < 0
    assert list(tmp_path.iterdir()) == []
