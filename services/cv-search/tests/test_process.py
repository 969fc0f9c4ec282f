"""cv-search as a process that is killed in the middle of its commits: nothing is lost, nothing is there twice."""

import asyncio
import itertools
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from cv_citizens.danish_time import danish_today
from cv_citizens.testing import JOBCENTER, a_caller
from cv_contracts.codelists import default
from cv_search.document import Documents
from cv_search.followers import projections
from cv_search.settings import SERVICE, Settings
from cv_search.store import SearchDocuments
from cv_search.testing import Owners, People, search_input
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.state_client import Post
from servicekit.follow.states import Unknown
from servicekit.follow.testing import apply_states
from servicekit.settings import KafkaSettings
from servicekit.testing import end, eventually, free_port
from servicekit.web.testing import Identities
from servicekit.web.tls import trusting

pytestmark = [pytest.mark.infra, pytest.mark.long, pytest.mark.timeout(180)]

PATIENCE = timedelta(seconds=60)
PEOPLE, KILLS = 60, 8
WORDS = [f"{letter}olmax" for letter in "bdfghjklmnprstv"]
"""Words that no stem, no typing error and no compound makes another of."""
Hear = Callable[[str, Sequence[UUID]], Awaitable[None]]


class Process:
    """The service as it is deployed, on a port of its own."""

    def __init__(self, settings: Settings, owners: Owners, log: Path) -> None:
        self.port = free_port()
        self._log = log
        self._environment = {
            "PATH": os.environ["PATH"],
            "HTTP__PORT": str(self.port),
            "POSTGRES__DSN": settings.postgres.dsn,
            "KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "IDENTITY__KEY_FILE": str(settings.identity.key_file),
            "IDENTITY__TRUSTED_FILE": str(settings.identity.trusted_file),
            "INDEX__FOLDER": str(settings.index.folder),
            "INDEX__COMMIT_EVERY": "PT0.02S",
            "READERS__PROCESSES": "1",
            "REGISTRY_URL": owners.url,
            "STATUS_URL": owners.url,
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cv_search", env=self._environment, stdout=log, stderr=log
            )

    async def end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.end(signal.SIGTERM)

    async def is_ready(self, client: httpx.AsyncClient) -> None:
        answer = await client.get(f"http://127.0.0.1:{self.port}/health/ready")
        assert answer.status_code == 200, answer.text


class Crowd:
    """People whose CVs are replaced, archived and restored all the time."""

    def __init__(self, owners: Owners) -> None:
        self._owners = People(owners)
        self.people = [self._owners.new(10000000 + i, WORDS[0]) for i in range(PEOPLE)]
        self._text = dict.fromkeys(range(PEOPLE), WORDS[0])

    async def change_forever(self, hear: Hear) -> None:
        for number in itertools.count():
            some = random.sample(range(PEOPLE), 5)
            for i in some:
                archived = random.random() < 0.2  # noqa: S311 - any will do
                self._text[i] = "" if archived else WORDS[number % len(WORDS)]
                state = "ARCHIVED" if archived else "ACTIVE"
                self._owners.replace(self.people[i], self._text[i], state=state)
            await hear("cvs", sorted(self.people[i].cv_id for i in some))

    def expected(self) -> Iterator[tuple[str | None, list[str]]]:
        """Give texts, and the CV numbers that each finds; None finds everybody who can be found."""
        found = {one: text for one, text in zip(self.people, self._text.values(), strict=True) if text}
        yield None, sorted(one.cv_number for one in found)
        for text in set(found.values()):
            yield text, sorted(one.cv_number for one, said in found.items() if said == text)


@asynccontextmanager
async def hearing(settings: Settings, post: Post) -> AsyncIterator[Hear]:
    """Give what applies states as the follower of another instance would."""
    database = await Database.connect(settings.postgres, SERVICE)
    documents = SearchDocuments(database, Documents(default()).document, danish_today)
    by_name = {projection.name: projection for projection in projections(post, post, documents)}

    async def hear(kind: str, subjects: Sequence[UUID]) -> None:
        states = await by_name[kind].fetch(subjects)
        await apply_states(database, by_name[kind], [s for s in states if not isinstance(s, Unknown)])

    try:
        yield hear
    finally:
        await database.close()


async def test_killed_in_mid_commit_again_and_again_the_index_holds_each_cv_once_as_it_is(
    fresh_database: FreshDatabase, make_settings: Any, owners: Owners, identities: Identities, tmp_path: Path
) -> None:
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    settings = make_settings(await fresh_database("cv_search.migrations"), nowhere)
    process = Process(settings, owners, tmp_path / "log")
    gateway = identities.signers["gateway"]
    crowd = Crowd(owners)

    async def post(path: str, body: dict[str, Any]) -> Any:
        return owners.found(path, body)

    async with (
        httpx.AsyncClient(timeout=20, trust_env=False, verify=trusting()) as client,
        hearing(settings, post) as hear,
        process.running(),
    ):
        await eventually(lambda: process.is_ready(client), PATIENCE)
        await hear("citizens", sorted(one.person_id for one in crowd.people))
        await hear("cvs", sorted(one.cv_id for one in crowd.people))
        changing = asyncio.create_task(crowd.change_forever(hear))
        for _ in range(KILLS):
            await asyncio.sleep(random.uniform(0.05, 0.6))  # noqa: S311 - any moment will do
            await process.end(signal.SIGKILL)
            await process.start()
            await eventually(lambda: process.is_ready(client), PATIENCE)
        await end(changing)
        await hear("cvs", sorted(one.cv_id for one in crowd.people))

        async def is_whole() -> None:
            headers = {"authorization": f"Bearer {gateway.token('cv-search', a_caller(JOBCENTER))}"}
            url = f"http://127.0.0.1:{process.port}/v6/Cv/search"
            for text, numbers in crowd.expected():
                body = {"searchInput": search_input(text, ResultsPerPage=100)}
                found = (await client.post(url, json=body, headers=headers)).json()["SearchCVTextResult"]
                assert found["TotalResults"] == len(numbers)
                assert sorted(one["CVNumber"] for one in found["CVPersons"]) == numbers

        await eventually(is_whole, PATIENCE)
