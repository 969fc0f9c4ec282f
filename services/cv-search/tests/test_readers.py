"""How many searches wait: a burst does, but where the processes are never free nobody does."""

import pickle
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from cv_contracts.faults import Unavailable
from cv_search.indexes import Place
from cv_search.port import Query
from cv_search.readers import IndexDoubted, Readers, plan_of
from cv_search.searcher import BEHIND, COSTLY, GONE, Answered
from cv_search.settings import IndexSettings, Settings
from cv_search.writing import Serving
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.web.testing import Identities
from servicekit.worker_pool import TooSlow, WorkCrowded, WorkerDied, Workers, WorkRefused

FOUND = Answered(0, b"", b"", 1)
SERVING = Serving(Place(Path("index"), uuid4()), 1)


class Busy:
    """Answers everything; says whether a process was free before."""

    idle = True
    fails: Exception | None = None

    async def work(self, asked: bytes) -> bytes:
        if self.fails is not None:
            raise self.fails
        return pickle.dumps(FOUND)


async def answered(readers: Readers, busy: Busy, *, idle: bool) -> bool:
    busy.idle = idle
    try:
        return await readers.search(SERVING, Query(), 10) == FOUND
    except Unavailable:
        return False


@pytest.fixture
def busy() -> Busy:
    return Busy()


@pytest.fixture
def readers(busy: Busy) -> Readers:
    return Readers(cast(Workers, cast(Any, busy)))


async def test_a_burst_waits(readers: Readers, busy: Busy) -> None:
    for _ in range(20):
        assert all([await answered(readers, busy, idle=False) for _ in range(20)])
        assert all([await answered(readers, busy, idle=True) for _ in range(100)])


async def test_where_no_process_is_ever_free_nobody_waits_until_they_are_again(
    readers: Readers, busy: Busy
) -> None:
    first = [await answered(readers, busy, idle=False) for _ in range(46)]
    assert first == [True] * 25 + [False] * 21
    assert await answered(readers, busy, idle=True)
    assert not await answered(readers, busy, idle=False)
    for _ in range(40):
        assert await answered(readers, busy, idle=True)
    assert await answered(readers, busy, idle=False)


@pytest.mark.parametrize(
    ("fails", "doubted"),
    [
        (WorkRefused(GONE, b""), True),
        (WorkRefused(BEHIND, b""), True),
        (WorkerDied(), True),
        (WorkRefused(COSTLY, b""), False),
        (TooSlow(), False),
        (WorkCrowded(), False),
    ],
)
async def test_an_index_is_doubted_where_a_search_fails_for_no_fault_of_its_own(
    readers: Readers, busy: Busy, fails: Exception, *, doubted: bool
) -> None:
    busy.fails = fails
    with pytest.raises(Unavailable) as told:
        await readers.search(SERVING, Query(), 10)
    assert isinstance(told.value, IndexDoubted) is doubted


def test_the_password_of_the_cluster_is_in_no_argument_and_its_authority_is_trusted(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    url = "https://search:secret@cluster:9200"
    settings = Settings(
        postgres=PostgresSettings(dsn="postgresql://localhost/nothing"),
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:9"),
        identity=identities.settings("cv-search"),
        index=IndexSettings(opensearch_url=url, opensearch_ca_file=Path("/cluster.pem")),
    )
    plan = plan_of(settings)
    assert "secret" not in " ".join(plan.program)
    assert {url, "/ca.pem", "/cluster.pem"} <= set(plan.environment.values())
    embedded = plan_of(settings.model_copy(update={"index": IndexSettings(folder=Path("index"))}))
    assert "/ca.pem" not in embedded.environment.values()
