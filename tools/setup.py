# ruff: noqa: INP001
"""Makes .venv from the hashed locks, once; done again only when a lock, a pyproject.toml or the folder changes.

It stands outside every package and uses the standard library alone, because nothing is installed yet when it runs.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".ready"
LOCKED = ROOT / ".venv.lock"
BOOTSTRAP = ROOT / "requirements-bootstrap.lock"
LOCK = ROOT / "requirements.lock"
NETWORK = "the first set-up needs the network (later starts do not): check it, or the proxy, and run again."
NO_VENV = (
    "this Python cannot make virtual environments: install its venv package (Debian and Ubuntu: apt install "
    "python3-venv), or name another Python with `make PYTHON=/path/to/python3.12 up`."
)
NO_LOCK = (
    "delete it if another user has made it (`sudo make`), or put this folder on a disk that you can write to and "
    "that has locks, and run again."
)


def fail(sentence: str) -> NoReturn:
    sys.exit(f"cvhub: {sentence}")


def packages() -> list[Path]:
    return sorted(path.parent for path in ROOT.glob("*/*/pyproject.toml"))


def fingerprint() -> str:
    """Hash what the environment is made from; the root counts, because the packages are installed from it."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (BOOTSTRAP, LOCK, *(package / "pyproject.toml" for package in packages())):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def ready(wanted: str) -> bool:
    return STAMP.exists() and STAMP.read_text() == wanted and in_venv("python").exists()


def in_venv(program: str) -> Path:
    return VENV / "bin" / program


def run(what: str, command: list[str | Path], hint: str) -> None:
    started = time.monotonic()
    print(f"  {what:42}", end="", flush=True)
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(f"{time.monotonic() - started:5.1f} s" if done.returncode == 0 else "failed")
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        print("\n".join(f"    {line}" for line in said.splitlines()[-12:]))
        fail("the disk is full: free 2 GB and run again." if "No space left" in said else hint)


def make_uv() -> Path | str:
    """Make .venv and give the path of its uv, installed by pip from hashes; without pip, the uv on the path will do."""
    uv = in_venv("uv")
    if uv.exists() and in_venv("python").exists() and made_here():
        return uv
    on_path = shutil.which("uv")
    if can_make_venv():
        run("virtual environment", [sys.executable, "-m", "venv", "--clear", VENV], NO_VENV)
        pip: list[str | Path] = [in_venv("python"), "-m", "pip", "install", "-q", "--require-hashes"]
        run("uv", [*pip, "-r", BOOTSTRAP], NETWORK)
        return uv
    if on_path:
        run(
            "virtual environment, by the uv found",
            [on_path, "venv", "-q", "--clear", "-p", sys.executable, VENV],
            NO_VENV,
        )
        return on_path
    fail(NO_VENV)


def made_here() -> bool:
    """Say whether .venv was made in this folder: one that was moved or copied here runs what is in the old one."""
    activate = in_venv("activate")
    named = rf"VIRTUAL_ENV=(['\"]?){re.escape(str(VENV))}\1$"
    return activate.exists() and re.search(named, activate.read_text(), re.MULTILINE) is not None


def can_make_venv() -> bool:
    try:
        import ensurepip  # noqa: F401, PLC0415
        import venv  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one at a time look at .venv and make it: two at once would take it from under each other."""
    with contextlib.ExitStack() as held:
        try:
            take(held.enter_context(LOCKED.open("w")))
        except OSError as error:
            fail(f"{LOCKED} cannot be locked ({error.strerror}): {NO_LOCK}")
        yield


def take(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another `make` is setting up .venv: waiting for it.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def main() -> None:
    """Look without the lock first: where nothing is to be set up, nothing need be writable."""
    if ready(fingerprint()):
        return
    with alone():
        wanted = fingerprint()
        if not ready(wanted):
            make(wanted)


def make(wanted: str) -> None:
    print("Setting up .venv (once):")
    uv = make_uv()
    STAMP.unlink(missing_ok=True)
    into: list[str | Path] = ["-q", "--python", in_venv("python")]
    run(
        "packages, each checked by its hash",
        [uv, "pip", "sync", "--require-hashes", *into, LOCK, BOOTSTRAP],
        NETWORK,
    )
    editable = [part for package in packages() for part in ("-e", package)]
    install = [uv, "pip", "install", "--no-deps", "--no-build-isolation", *into, *editable]
    run("our own packages", install, "a package of the workspace cannot be installed: see above.")
    STAMP.write_text(wanted)


if __name__ == "__main__":
    main()
