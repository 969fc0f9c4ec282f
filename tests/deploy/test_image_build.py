"""What the Dockerfile runs, in a folder that holds no more than the build context: no image can be built here, its packages can."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BUILD = (ROOT / "deploy/docker/service.Dockerfile").read_text().rpartition("\nFROM ")[0].replace("\\\n", " ")
OPERATORS = {"SERVICE": "tools/cvhub", "BESIDE": "services/*"}
OURS = sorted(ROOT.glob("*/*/src/*/__init__.py"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what the COPY lines find in the context that .dockerignore leaves."""
    context, work = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("work")
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        for path in ROOT.glob(line[1:]) if line.startswith("!") else ():
            _copy(path, context / path.relative_to(ROOT))
    for line in re.findall(r"^COPY (.*)$", BUILD, re.MULTILINE):
        *from_, to = line.split()
        for name in from_:
            _copy(context / name, work / (Path(name).name if to.endswith("/") else to))
    return work


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy2(source, to)


def _command(beginning: str) -> str:
    (found,) = (part for part in re.split("RUN|&&", BUILD) if part.strip().startswith(beginning))
    return found.strip()


def _run(command: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {**os.environ, "PATH": path, "UV_OFFLINE": "1", **environment}
    return subprocess.run(  # noqa: S602 - the line of the Dockerfile
        command, shell=True, cwd=folder, env=given, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("service", sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("services/*")))
def test_what_a_service_needs_is_taken_out_of_the_lock(service: str, sources: Path, tmp_path: Path) -> None:
    """The registry is not asked here: everything before that has been read and understood."""
    done = _run(_command("uv pip compile"), sources, SERVICE=service, UV_CACHE_DIR=str(tmp_path))
    assert "network was disabled" in done.stderr


def test_our_own_packages_are_built_whole(sources: Path, tmp_path: Path) -> None:
    install = _command("uv pip install --python /app/bin/python --build-constraints").replace(
        "--python /app/bin/python",
        f"--python {shlex.quote(sys.executable)} --target {shlex.quote(str(tmp_path))}",
    )
    done = _run(install, sources, UV_NO_BUILD_ISOLATION="1", **OPERATORS)
    assert done.returncode == 0, done.stderr
    left_out = {"cvhub_feedclient"}
    for package in (init.parent for init in OURS if init.parent.name not in left_out):
        files = {path.relative_to(package.parent) for path in package.rglob("*") if path.is_file()}
        wanted = {path for path in files if "__pycache__" not in path.parts}
        assert [path for path in sorted(wanted) if not (tmp_path / path).is_file()] == []
