"""A process that is to be bounded is, and does not run without its bound but on macOS, which refuses one."""

import resource
import subprocess
import sys

import pytest

from servicekit.memory import bound_memory

BOUND = "from servicekit.memory import bound_memory; bound_memory({})"


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - our own code


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS bounds no memory")
def test_more_than_the_bound_cannot_be_taken() -> None:
    taken = run(f"{BOUND.format(512)}\nbytearray(600 << 20)")
    assert taken.returncode == 1
    assert "MemoryError" in taken.stderr
    assert run(f"{BOUND.format(512)}\nbytearray(100 << 20)").returncode == 0


@pytest.mark.parametrize("refusal", [ValueError, OSError])
def test_a_bound_that_is_refused_is_done_without_on_macos_only(
    monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    def refuse(_limit: int, _bounds: tuple[int, int]) -> None:
        raise refusal

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(sys, "platform", "darwin")
    bound_memory(512)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(refusal):
        bound_memory(512)
