"""A database with servicekit's own tables, what is told as metrics, and an owner that answers as it is told."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest
import pytest_asyncio
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint

from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.topics import Topic, topic_of
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.following import Following
from servicekit.follow.positions_testing import following_of
from servicekit.follow.testing import Copies, OwnedStates, make_live
from servicekit.observe import metrics
from servicekit.settings import TelemetrySettings
from servicekit.web.upstream import Owner
from servicekit.web.upstream_testing import LIMITS, ScriptedOwner


@pytest_asyncio.fixture
async def database(fresh_database: FreshDatabase) -> AsyncIterator[Database]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "test")
    yield database
    await database.close()


@pytest.fixture
def kafka_topics() -> Sequence[Topic]:
    return topic_of(CitizenChanged), topic_of(CVChanged)


@pytest_asyncio.fixture
async def scripted() -> AsyncIterator[ScriptedOwner]:
    scripted = ScriptedOwner()
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest_asyncio.fixture
async def owner(scripted: ScriptedOwner) -> AsyncIterator[Owner]:
    owner = Owner(scripted.url, LIMITS)
    yield owner
    owner.close()


@pytest_asyncio.fixture
async def copies(database: Database) -> Copies:
    """Give a projection's table, whose generation is live."""
    await make_live(database)
    return await Copies(database).create()


@pytest.fixture
def owned() -> OwnedStates:
    return OwnedStates()


@pytest.fixture
def following(database: Database, copies: Copies, owned: OwnedStates) -> Following:
    """Give the runtime of that projection, of the owner whose states are `owned`."""
    return following_of(database, copies, owned)


@pytest.fixture
def told() -> Iterator[Callable[[], dict[str, float]]]:
    """Give what was counted and what is observed at that moment; of durations, how often they were measured."""
    reader = InMemoryMetricReader()
    metrics.setup("test", TelemetrySettings(), reader=reader)
    yield lambda: _numbers(reader)
    metrics.shutdown()


def _numbers(reader: InMemoryMetricReader) -> dict[str, float]:
    data = reader.get_metrics_data()
    found: dict[str, float] = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
        for point in metric.data.data_points:
            if isinstance(point, HistogramDataPoint):
                assert 0 < point.sum < 60 * point.count
                found[metric.name] = point.count
            elif isinstance(point, NumberDataPoint):
                found[metric.name] = point.value
    return found
