"""The owner's routes, over TCP with a real client: states, pages, digests, who may call, and what is compressed."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.owner_testing import PREFIX, Things, client_of, owner_app, serving
from servicekit.follow.state_client import Digest, HttpStates
from servicekit.follow.state_routes import Stored
from servicekit.follow.states import Erased, Known, SubjectState, Unknown
from servicekit.testing import free_port
from servicekit.web.testing import Identities
from servicekit.web.tls import trusting

pytestmark = pytest.mark.infra


@dataclass
class Owner:
    things: Things
    states: HttpStates
    http: httpx.AsyncClient
    keys: Identities

    def headers(self, service: str = "follower") -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys.signers[service].token('owner')}"}


@pytest_asyncio.fixture
async def owner(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Owner]:
    database = await Database.connect(await fresh_database(), "owner-tests")
    things = await Things(database).create()
    keys, port = Identities(tmp_path, ["follower", "stranger", "owner"]), free_port()
    async with serving(owner_app(things, keys.verifier("owner"), "follower"), port) as url:
        client, states = client_of(url, keys.signers["follower"])
        async with httpx.AsyncClient(verify=trusting(), base_url=url + PREFIX) as http:
            yield Owner(things, states, http, keys)
        client.close()
    await database.close()


async def test_a_state_is_known_erased_or_unknown(owner: Owner) -> None:
    known, erased, unknown = uuid4(), uuid4(), uuid4()
    await owner.things.put(known, 7, name="Ærø")
    await owner.things.put(erased, 1)
    await owner.things.erase(erased, 9)
    answer = await owner.states.states([known, erased, unknown])
    assert {state.subject: state for state in answer} == {
        known: Known(known, 7, {"name": "Ærø"}),
        erased: Erased(erased, 9),
        unknown: Unknown(unknown),
    }


async def test_who_is_erased_while_states_are_read_is_known_or_erased_and_never_unknown(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, read = uuid4(), Things.states
    await owner.things.put(subject, 7)

    async def erased_meanwhile(things: Things, subjects: Sequence[UUID]) -> list[Stored]:
        found = await read(things, subjects)
        if found:
            await things.erase(subject, 9)
        return found

    monkeypatch.setattr(Things, "states", erased_meanwhile)
    assert await owner.states.states([subject]) == [Known(subject, 7, {})]
    assert await owner.states.states([subject]) == [Erased(subject, 9)]


async def test_pages_go_over_everybody_once_by_key_order(owner: Owner) -> None:
    subjects = sorted(uuid4() for _ in range(25))
    for subject in subjects:
        await owner.things.put(subject, 1)
    seen: list[UUID] = []
    after: UUID | None = None
    while True:
        page = await owner.states.page(after, 10)
        seen += [state.subject for state in page.states]
        after = page.following
        if after is None:
            break
    assert seen == subjects


async def test_the_erased_are_on_the_pages_in_their_places(owner: Owner) -> None:
    states: list[Known | Erased] = []
    for number, kind in enumerate("eeeeekkekkkeekeeee", 1):
        subject = UUID(int=number << 120)
        await owner.things.put(subject, 1)
        if kind == "e":
            await owner.things.erase(subject, 2)
        states.append(Erased(subject, 2) if kind == "e" else Known(subject, 1, {}))
    seen: list[SubjectState] = []
    page = await owner.states.page(None, 3)
    while page.following is not None:
        assert len(page.states) == 3
        seen += page.states
        page = await owner.states.page(page.following, 3)
    assert [*seen, *page.states] == states


async def test_the_last_page_may_be_full_or_empty(owner: Owner) -> None:
    assert (await owner.states.page(None, 10)).following is None
    for _ in range(10):
        await owner.things.put(uuid4(), 1)
    full = await owner.states.page(None, 10)
    assert full.following is not None
    assert (await owner.states.page(full.following, 10)).states == []


async def test_ranges_tell_count_and_digest_of_what_is_there(owner: Owner) -> None:
    one, two, far = UUID(int=1 << 120), UUID(int=(1 << 120) + 5), UUID(int=(1 << 128) - 1)
    await owner.things.put(one, 1)
    await owner.things.put(far, 1)
    before = await owner.states.ranges(0, 255)
    assert {number: digest.count for number, digest in before.items()} == {1: 1, 255: 1}
    await owner.things.put(two, 4)
    await owner.things.put(one, 2)
    after = await owner.states.ranges(0, 255)
    assert after[255] == before[255]
    assert after[1].count == 2
    assert after[1].digest != before[1].digest
    assert await owner.states.ranges(1, 1) == {1: after[1]}
    assert await owner.states.ranges(2, 254) == {}
    assert await owner.states.versions(1) == {one: 2, two: 4}
    await owner.things.erase(two, 5)
    await owner.things.put(one, 1)
    assert await owner.states.ranges(0, 255) == before
    assert isinstance(before[1], Digest)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("states", {"subjects": [str(UUID(int=n)) for n in range(501)]}),
        ("states", {"subjects": ["not an id"]}),
        ("states", {"subjects": [], "more": 1}),
        ("snapshot", {"after": None, "limit": 1001}),
        ("snapshot", {"after": None, "limit": 0}),
        ("ranges", {"first": 0, "last": 256}),
        ("versions", {"range": -1}),
        ("versions", {}),
    ],
)
async def test_what_is_not_as_agreed_is_refused(owner: Owner, path: str, body: dict[str, object]) -> None:
    answer = await owner.http.post(f"/{path}", json=body, headers=owner.headers())
    assert (answer.status_code, answer.json()["code"]) == (400, 1014)
    assert "not an id" not in answer.text


@pytest.mark.parametrize("path", ["states", "snapshot", "ranges", "versions"])
async def test_only_services_that_are_listed_may_call(owner: Owner, path: str) -> None:
    body = {"states": {"subjects": []}, "versions": {"range": 1}}.get(path, {})
    assert (await owner.http.post(f"/{path}", json=body, headers=owner.headers())).status_code == 200
    stranger = await owner.http.post(f"/{path}", json=body, headers=owner.headers("stranger"))
    assert stranger.json()["code"] == 1013
    assert (await owner.http.post(f"/{path}", json=body)).json()["code"] == 1012


@pytest.mark.parametrize("path", ["states", "snapshot"])
@pytest.mark.parametrize("encodings", ["gzip;q=0", "identity, gzip; q=0.0"])
async def test_no_answer_is_compressed_where_that_is_refused_by_name(
    owner: Owner, path: str, encodings: str
) -> None:
    subject = uuid4()
    await owner.things.put(subject, 1, text="x" * 500)
    body = {"subjects": [str(subject)]} if path == "states" else {}
    answer = await owner.http.post(
        f"/{path}", json=body, headers=owner.headers() | {"accept-encoding": encodings}
    )
    assert "content-encoding" not in answer.headers
    assert [state["version"] for state in answer.json()["states"]] == [1]


@pytest.mark.parametrize("count", [0, 30, 900])
async def test_answers_are_compressed_where_that_is_accepted_and_worth_it(owner: Owner, count: int) -> None:
    for _ in range(count):
        await owner.things.put(uuid4(), 1, text="x" * 50)
    accepting = await owner.http.post("/snapshot", json={}, headers=owner.headers())
    refusing = await owner.http.post(
        "/snapshot", json={}, headers=owner.headers() | {"accept-encoding": "identity"}
    )
    assert accepting.headers.get("content-encoding") == ("gzip" if count else None)
    assert "content-encoding" not in refusing.headers
    assert accepting.json() == refusing.json()
