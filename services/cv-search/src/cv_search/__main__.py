"""`python -m cv_search [serve | migrate]`."""

import os
from typing import Final

from cv_search.app import create_app
from cv_search.memory import give_back
from cv_search.settings import SERVICE, Role, Settings
from servicekit.program import program

GIVES_WAY: Final = 5
"""How nice a process is that only writes: somebody waits for a search, nobody for the next commit."""


def main() -> None:
    """Do what the first argument says; serve, after the migrations, when there is none."""
    settings = Settings()
    if settings.role is Role.WRITE:
        os.nice(GIVES_WAY)
    if settings.role.writes:
        give_back()
    program(SERVICE, settings, create_app, package="cv_search")


if __name__ == "__main__":
    main()
