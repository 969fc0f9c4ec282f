"""`python -m cv_gateway [serve | openapi [--check]]`."""

import sys
from pathlib import Path

from cv_gateway.app import create_app
from cv_gateway.openapi import write_or_check
from cv_gateway.settings import SERVICE, Settings
from servicekit.dumps import no_core_dumps
from servicekit.observe import logging, telemetry
from servicekit.web.server import serve

OPENAPI = Path("docs/openapi.json")


def main() -> None:
    """Serve, or write the description of the interface below the present directory."""
    match sys.argv[1:]:
        case [] | ["serve"]:
            _serve()
        case ["openapi", *rest] if rest in ([], ["--check"]):
            sys.exit(write_or_check(OPENAPI, check=bool(rest)))
        case _:
            sys.exit("usage: python -m cv_gateway [serve | openapi [--check]]")


def _serve() -> None:
    no_core_dumps()
    settings = Settings()
    logging.setup(SERVICE, settings.telemetry)
    telemetry.setup(SERVICE, settings.telemetry)
    app = create_app(settings)
    serve(app, settings.http, app.health)


if __name__ == "__main__":
    main()
