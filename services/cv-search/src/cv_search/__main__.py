"""`python -m cv_search [serve | migrate]`."""

from cv_search.app import create_app
from cv_search.settings import SERVICE, Settings
from servicekit.program import program


def main() -> None:
    """Do what the first argument says; serve, after the migrations, when there is none."""
    program(SERVICE, Settings(), create_app, package="cv_search")


if __name__ == "__main__":
    main()
