"""For tests of positions: as much of aiokafka's consumer as decides where is read, and what the database has stored of it."""

import asyncio
from collections.abc import Callable, Iterable
from uuid import uuid4

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError

from servicekit.data.postgres import Database
from servicekit.follow.applied import applied_by
from servicekit.follow.following import Following
from servicekit.follow.generations import Generations
from servicekit.follow.records import Record, Records
from servicekit.follow.testing import CITIZENS, Copies, OwnedStates

__all__ = ["Consumer", "following_of", "has_gap", "records", "store", "stored"]

TOPIC = "prefixed." + CITIZENS.name


class Consumer:
    """As much of aiokafka's as decides where is read."""

    def __init__(self, *assigned: int, ends: int = 1_000) -> None:
        self.assigned = set(assigned)
        self.sought: list[tuple[int, int]] = []
        self.ends = ends
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None
        """Called while the broker is asked."""

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(TOPIC, partition) for partition in self.assigned}

    def seek(self, place: TopicPartition, offset: int) -> None:
        if place not in self.assignment():
            raise IllegalStateError
        self.sought.append((place.partition, offset))

    async def end_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked += 1
        self.meanwhile()
        await asyncio.sleep(0)
        return dict.fromkeys(places, self.ends)


def records(owner: OwnedStates, partition: int, *offsets: int) -> Records:
    """Make the records of new subjects at these offsets."""
    return [Record(CITIZENS, partition, offset, None, (), b"", owner.put(uuid4(), 1)) for offset in offsets]


def following_of(database: Database, copies: Copies, owner: OwnedStates) -> Following:
    """Give the runtime of a projection into `copies`, which follows nothing by itself."""
    projection = copies.projection(owner)
    return Following(database, projection, TOPIC, applied_by(database, {CITIZENS.name: projection.name}))


async def stored(database: Database) -> dict[int, int]:
    """Give the next offset of each partition that the database knows."""
    rows = await database.fetch("select partition, next_offset from follow_positions")
    return {row["partition"]: row["next_offset"] for row in rows}


async def store(database: Database, partition: int, offset: int) -> None:
    """Let the database want this offset next."""
    await database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset) values ('copies', $1, $2, $3)"
        " on conflict (projection, topic, partition) do update set next_offset = excluded.next_offset",
        CITIZENS.name,
        partition,
        offset,
    )


async def has_gap(database: Database) -> bool:
    """Tell whether the live generation lacks records that are gone."""
    return await Generations(database, "copies").has_gap()
