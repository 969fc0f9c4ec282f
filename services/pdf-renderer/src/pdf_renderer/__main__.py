"""`python -m pdf_renderer [serve | migrate]`."""

from pdf_renderer.app import create_app
from pdf_renderer.settings import SERVICE, Settings
from servicekit.program import program


def main() -> None:
    """Do what the first argument says; serve, after the migrations, when there is none."""
    program(SERVICE, Settings(), create_app, package="pdf_renderer")


if __name__ == "__main__":
    main()
