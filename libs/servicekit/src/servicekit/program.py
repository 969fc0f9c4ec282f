"""`python -m SERVICE`: the settings, the migrations, and what the first argument says."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from servicekit.data.postgres import migrate
from servicekit.dumps import no_core_dumps
from servicekit.observe import logging, telemetry
from servicekit.settings import HttpSettings, PostgresSettings, TelemetrySettings
from servicekit.web.http import Routes
from servicekit.web.server import serve

__all__ = ["ServiceSettings", "program"]


class ServiceSettings(Protocol):
    """What the settings of every service with a database hold."""

    @property
    def http(self) -> HttpSettings: ...
    @property
    def postgres(self) -> PostgresSettings: ...
    @property
    def telemetry(self) -> TelemetrySettings: ...


S = TypeVar("S", bound=ServiceSettings)


def program(
    service: str,
    settings: S,
    create_app: Callable[[S], Routes],
    *,
    package: str,
    commands: Mapping[str, Callable[..., int | None]] | None = None,
) -> None:
    """Do what the first argument says; serve when there is none. The migrations of `package` come before everything.

    `commands` are further ones, spelled with their arguments (`import FILE`). Each is called with the settings and
    its arguments, and gives the exit code.
    """
    no_core_dumps()
    command, *arguments = sys.argv[1:] or ["serve"]
    logging.setup(service, settings.telemetry)
    asyncio.run(migrate(settings.postgres.dsn, f"{package}.migrations"))
    for spelled, run in (commands or {}).items():
        name, *takes = spelled.split()
        if name == command and len(takes) == len(arguments):
            sys.exit(run(settings, *arguments))
    if arguments or command not in ("serve", "migrate"):
        sys.exit(f"usage: python -m {package} [{' | '.join(('serve', 'migrate', *(commands or {})))}]")
    if command == "serve":
        telemetry.setup(service, settings.telemetry)
        app = create_app(settings)
        serve(app, settings.http, app.health)
