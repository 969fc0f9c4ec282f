"""`python -m cv_status [serve | migrate]`."""

from cv_status.app import create_app
from cv_status.settings import SERVICE, Settings
from servicekit.program import program


def main() -> None:
    """Do what the first argument says; serve, after the migrations, when there is none."""
    program(SERVICE, Settings(), create_app, package="cv_status")


if __name__ == "__main__":
    main()
