# ruff: noqa: INP001
"""Recompiles requirements.lock, hashed and for all platforms, from the pyproject files of the workspace."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> int:
    projects = sorted(ROOT.glob("*/*/pyproject.toml"))
    own = [tomllib.loads(path.read_text())["project"]["name"] for path in projects]
    return subprocess.run(
        [
            *(
                Path(sys.executable).parent / "uv",
                "pip",
                "compile",
                "--universal",
                "--python-version",
                "3.11",
            ),
            *(
                "--all-extras",
                "--generate-hashes",
                "--no-emit-index-url",
                "--no-annotate",
                "--no-header",
                "-q",
            ),
            *("pyproject.toml", "--group", "dev", *(str(path.relative_to(ROOT)) for path in projects)),
            *(part for name in own for part in ("--no-emit-package", name)),
            *("-o", "requirements.lock"),
        ],
        cwd=ROOT,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
