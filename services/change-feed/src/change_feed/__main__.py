"""`python -m change_feed [serve | migrate]`."""

from change_feed.app import create_app
from change_feed.settings import SERVICE, Settings
from servicekit.program import program


def main() -> None:
    """Do what the first argument says; serve, after the migrations, when there is none."""
    program(SERVICE, Settings(), create_app, package="change_feed")


if __name__ == "__main__":
    main()
