"""A process that builds one projection, for the tests that kill it: settings as JSON in its argument."""

import asyncio
import json
import sys
from pathlib import Path

from servicekit.data.postgres import Database
from servicekit.follow import rebuild as rebuilding
from servicekit.follow.owner_testing import client_of
from servicekit.follow.projection import Projection
from servicekit.follow.rebuild import Rebuilds
from servicekit.follow.testing import CITIZENS, Copies
from servicekit.settings import PostgresSettings
from servicekit.web.identity import ServiceSigner, load_private_key


async def main() -> None:
    told = json.loads(sys.argv[1])
    rebuilding.PAGE = 7
    signer = ServiceSigner("follower", load_private_key(Path(told["key"])))
    database = await Database.connect(PostgresSettings(dsn=told["dsn"]), "rebuilding")
    _, owner = client_of(told["url"], signer)
    projection = Projection(
        name="copies", topic=CITIZENS, fetch=owner.states, apply=Copies(database).apply, owner=owner
    )
    await Rebuilds(database, [projection]).run()


if __name__ == "__main__":
    asyncio.run(main())
