"""`python -m cv_registry [serve | migrate | import FILE | merge-municipality FORMER INTO DAY]`."""

import asyncio
import os
from typing import Final

from cv_registry.app import create_app
from cv_registry.imports.running import run_import
from cv_registry.merge_municipality import run_merger
from cv_registry.settings import SERVICE, Settings
from servicekit.program import program

GIVES_WAY: Final = 10
"""How nice an import is to those who serve beside it; where nobody else wants the processors it takes them all."""


def main() -> None:
    """Do what the first argument says; serve, after the migrations, when there is none."""
    program(
        SERVICE,
        Settings(),
        create_app,
        package="cv_registry",
        commands={"import FILE": _import, "merge-municipality FORMER INTO DAY": _merge},
    )


def _import(settings: Settings, file: str) -> int:
    os.nice(GIVES_WAY)
    return asyncio.run(run_import(settings, file))


def _merge(settings: Settings, former: str, into: str, day: str) -> int:
    return asyncio.run(run_merger(settings, former, into, day))


if __name__ == "__main__":
    main()
