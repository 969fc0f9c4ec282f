"""`python -m contact_verification [serve | migrate | rotate-keys]`."""

import asyncio
import sys

from contact_verification.app import create_app
from contact_verification.keys import Keys
from contact_verification.rotation import Progress, rotate
from contact_verification.settings import SERVICE, Settings
from servicekit.data.postgres import Database
from servicekit.program import program


def main() -> None:
    """Do what the first argument says; serve, after the migrations, when there is none."""
    commands = {"rotate-keys": _rotate_keys}
    program(SERVICE, Settings(), create_app, package="contact_verification", commands=commands)


def _rotate_keys(settings: Settings) -> None:
    asyncio.run(_rotate(settings))


async def _rotate(settings: Settings) -> None:
    database = await Database.connect(settings.postgres, f"{SERVICE} rotate-keys")
    try:
        keys = Keys.from_settings(settings)
        done = await rotate(database, keys, _tell)
        sys.stdout.write(f"{done} rows were done; all are now under the first keys of the settings\n")
    finally:
        await database.close()


def _tell(progress: Progress) -> None:
    sys.stdout.write(f"{progress}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
