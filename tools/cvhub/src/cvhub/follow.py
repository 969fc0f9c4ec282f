"""Prints the events of one topic as they come; the envelope only, for there is nothing else in them."""

import asyncio
import contextlib

from aiokafka.errors import KafkaError

from cv_contracts.envelope import Unreadable, read
from cv_contracts.topics import TOPIC_BY_NAME
from cvhub.servers.process import CannotStart
from servicekit.kafka import consumer
from servicekit.settings import KafkaSettings


def print_events(bootstrap_servers: str, topic: str, *, from_start: bool) -> None:
    if topic not in TOPIC_BY_NAME:
        raise CannotStart(f"There is no topic '{topic}'; there are: {', '.join(TOPIC_BY_NAME)}.")
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_print(bootstrap_servers, topic, "earliest" if from_start else "latest"))
        except KafkaError as error:
            raise CannotStart(
                f"Kafka at {bootstrap_servers} does not answer ({type(error).__name__}): `cvhub status` shows what runs."
            ) from error


async def _print(bootstrap_servers: str, topic: str, begin: str) -> None:
    settings = KafkaSettings(bootstrap_servers=bootstrap_servers)
    follower = consumer(settings, topic, group_id=None, auto_offset_reset=begin)
    try:
        await follower.start()
        async for record in follower:
            try:
                event = read(record.headers, record.value)
            except Unreadable as error:
                print(f"{record.partition}/{record.offset} unreadable: {error.reason}", flush=True)
            else:
                data = event.model_dump_json(exclude={"id", "time"})
                print(f"{event.time.isoformat()} {type(event).__name__} {data} {event.id}", flush=True)
    finally:
        await follower.stop()
