"""One trace from the write over outbox, relay and Kafka to the follower and the owner that it asks."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.states import SubjectState
from servicekit.follow.testing import Copies, OwnedStates, following, make_live
from servicekit.observe import telemetry
from servicekit.observe.telemetry import current_traceparent, with_traceparent
from servicekit.publish.outbox import Outbox
from servicekit.publish.relay import Relay
from servicekit.settings import KafkaSettings, TelemetrySettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = "00-11111111111111111111111111111111-b7ad6b7169203331-00"


@pytest_asyncio.fixture
async def database(database: Database) -> Database:
    await make_live(database)
    return database


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    settings = TelemetrySettings(sample_ratio=0)
    telemetry.setup("cv-registry", settings, processor=SimpleSpanProcessor(exporter))
    yield exporter
    telemetry.shutdown()


class TracedStates(OwnedStates):
    """An owner that notes the traces in which it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[str | None] = []

    async def fetch(self, subjects: Sequence[UUID]) -> list[SubjectState]:
        self.traces.append(current_traceparent())
        return await super().fetch(subjects)


async def test_a_sampled_write_is_one_trace_to_the_owner_that_the_follower_asks(
    database: Database, kafka_settings: KafkaSettings, spans: InMemorySpanExporter
) -> None:
    owner, copies = TracedStates(), await Copies(database).create()
    outbox = Outbox()
    traced, untraced = uuid4(), uuid4()
    for subject, traceparent in ((untraced, UNSAMPLED), (traced, SAMPLED)):
        with with_traceparent(traceparent):
            async with database.write(str(subject)) as tx:
                await outbox.add(tx, owner.put(subject, 5))
    relay = Relay(database, kafka_settings, "cv-registry", outbox)
    relaying = asyncio.create_task(relay.run())
    try:
        async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
            await eventually(lambda: _has(copies, {traced: 5, untraced: 5}))
    finally:
        relay.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(relaying, 60)
    made = {span.name: span for span in spans.get_finished_spans()}
    assert set(made) == {"send cv-registry.citizen-changed", "process cv-registry.citizen-changed"}
    for span in made.values():
        assert f"{span.context.trace_id:032x}" == TRACE
        assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]
    asked = {traceparent[3:35] for traceparent in owner.traces if traceparent is not None}
    assert asked == {TRACE}


async def _has(copies: Copies, expected: dict[UUID, int]) -> None:
    assert await copies.versions() == expected
