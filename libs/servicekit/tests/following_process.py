"""A process that follows, for the tests that kill it: settings as JSON in its argument, where to stall among them."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.owner_testing import client_of
from servicekit.follow.projection import Applicable, Connection, Projection
from servicekit.follow.testing import CITIZENS, Copies
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.web.identity import ServiceSigner, load_private_key


async def never(*_: object) -> None:
    await asyncio.Event().wait()


class Stalling(Copies):
    """Writes the effects, notes outside the transaction that it has, and never comes to the commit."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._notes = database

    async def apply(self, conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        await super().apply(conn, generation, states)
        await self._notes.execute("insert into reached values ($1)", len(states))
        await never()


async def main() -> None:
    told = json.loads(sys.argv[1])
    signer = ServiceSigner("follower", load_private_key(Path(told["key"])))
    postgres = PostgresSettings(dsn=told["dsn"])
    database = await Database.connect(postgres, "following")
    _, owner = client_of(told["url"], signer)
    copies = Stalling(database) if told["stall"] == "transaction" else Copies(database)
    if told["stall"] == "offsets":
        AIOKafkaConsumer.commit = never
    projection = Projection(name="copies", topic=CITIZENS, fetch=owner.states, apply=copies.apply)
    kafka = KafkaSettings(bootstrap_servers=told["kafka"], topic_prefix=told["prefix"])
    await Follower(database, kafka, "cv-status", [projection]).run()


if __name__ == "__main__":
    asyncio.run(main())
