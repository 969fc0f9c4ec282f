"""The example of docs/examples: what its table keeps of who comes and leaves, and that it outlives its token."""

import importlib.util
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from cvhub_feedclient import Event, Overtaken, Place

FILE = Path(__file__).parents[3] / "docs/examples/sqlite_follower.py"
CV = "0f6c0000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sqlite_follower", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def streamed(token: str) -> AsyncIterator[bytes]:
    """Give the provider's answer as a network does: not read before it is asked for."""
    yield json.dumps({"access_token": token}).encode()


def happening(kind: str, change: str | None, version: int, number: str | None = "12345678") -> Event:
    return Event.of(
        {
            "id": f"p{version}",
            "eventid": f"{kind}-{change}-{version}",
            "type": f"dk.cvhub.somebody.{kind}.v1",
            "subject": CV,
            "time": "2026-11-22T10:00:00Z",
            "data": {"change": change, "version": version, "cvNumber": number},
        }
    )


async def test_who_comes_is_a_cv_to_fetch_until_a_change_is_told_and_who_leaves_is_none(
    example: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "copy.sqlite"
    copy = example.SqliteCopy(file)
    steps = {
        ("citizen-handed-over", "came", 7): [(CV, "12345678", 0, "came")],
        ("cv-changed", "replaced", 9): [(CV, "12345678", 9, "replaced")],
        # One that is told again, or of a citizen who came by another way too, takes nothing away.
        ("citizen-handed-over", "came", 10): [(CV, "12345678", 9, "replaced")],
        ("citizen-handed-over", "left", 11): [],
    }
    for said, rows in steps.items():
        await copy.happened([happening(*said)], await copy.place(), Place(building=False))
        with sqlite3.connect(file) as connection:
            assert connection.execute("select cv_id, cv_number, version, change from cvs").fetchall() == rows
    copy.close()


async def test_a_number_that_is_exchanged_or_withdrawn_is_taken_from_whatever_tells_it(
    example: ModuleType, tmp_path: Path
) -> None:
    copy = example.SqliteCopy(tmp_path / "copy.sqlite")
    steps = [
        # Versions of others than the CV say nothing about the CV's own.
        (happening("cv-changed", "replaced", 5), ("12345678", 5, "replaced")),
        (happening("citizen-changed", "changed", 700, "87654321"), ("87654321", 5, "replaced")),
        (happening("status-set", None, 3, None), (None, 5, "replaced")),
        (happening("contact-saved", None, 4, "87654321"), ("87654321", 5, "replaced")),
    ]
    for event, row in steps:
        await copy.happened([event], await copy.place(), Place(building=False))
        with sqlite3.connect(tmp_path / "copy.sqlite") as connection:
            assert connection.execute("select cv_number, version, change from cvs").fetchall() == [row]
    unknown = happening("citizen-changed", "changed", 8)
    await copy.happened([replace(unknown, subject="somebody else")], await copy.place(), Place())
    with sqlite3.connect(tmp_path / "copy.sqlite") as connection:
        assert connection.execute("select count(*) from cvs").fetchone() == (1,)
    copy.close()


@pytest.mark.parametrize("deleted_first", [True, False])
async def test_a_number_that_was_withdrawn_does_not_come_back_by_the_deletion_that_is_told_under_it(
    example: ModuleType, tmp_path: Path, deleted_first: bool
) -> None:
    copy = example.SqliteCopy(tmp_path / "copy.sqlite")
    withdrawn, deleted = (
        happening("citizen-changed", "changed", 700, None),
        happening("cv-changed", "deleted", 6),
    )
    both = [deleted, withdrawn] if deleted_first else [withdrawn, deleted]
    for event in [happening("cv-changed", "replaced", 5), *both]:
        await copy.happened([event], await copy.place(), Place(building=False))
    with sqlite3.connect(tmp_path / "copy.sqlite") as connection:
        kept = connection.execute("select cv_number, version, change from cvs").fetchall()
    assert kept == [(None, 6, "deleted")]
    copy.close()


async def test_what_comes_late_takes_the_cv_to_no_older_version(example: ModuleType, tmp_path: Path) -> None:
    copy = example.SqliteCopy(tmp_path / "copy.sqlite")
    late = [happening("cv-changed", "deleted", 5), happening("cv-changed", "replaced", 4, "87654321")]
    await copy.happened(late, await copy.place(), Place(building=False))
    with sqlite3.connect(tmp_path / "copy.sqlite") as connection:
        kept = connection.execute("select cv_number, version, change from cvs").fetchall()
    assert kept == [("87654321", 5, "deleted")]
    copy.close()


async def test_of_two_on_one_file_the_one_that_comes_later_changes_nothing(
    example: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "copy.sqlite"
    ahead, slow = example.SqliteCopy(file), example.SqliteCopy(file)
    begun = await slow.place()
    first, second, third = (Place(position=f"p{n}", building=False) for n in (1, 2, 3))
    await ahead.begin(begun, first)
    await ahead.happened([happening("cv-changed", "replaced", 2)], first, second)
    await ahead.happened([happening("cv-changed", "deleted", 3)], second, third)
    for late in (
        slow.begin(begun, first),
        slow.present([], first, second),
        slow.happened([happening("cv-changed", "replaced", 2)], first, second),
    ):
        with pytest.raises(Overtaken):
            await late
    assert await slow.place() == third
    with sqlite3.connect(file) as connection:
        assert connection.execute("select version, change from cvs").fetchall() == [(3, "deleted")]
    for copy in (ahead, slow):
        copy.close()


async def test_a_token_that_has_ended_is_renewed_and_a_provider_that_is_away_is_waited_for(
    example: ModuleType,
) -> None:
    given: list[str] = []
    provider_status = 200

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "provider":
            assert request.content == b"grant_type=client_credentials&scope=cv.changes"
            given.append(f"token-{len(given) + 1}")
            return httpx.Response(provider_status, content=streamed(given[-1]))
        taken = bool(given) and request.headers["authorization"] == f"Bearer {given[-1]}"
        return httpx.Response(200 if taken else 401)

    form = {"grant_type": "client_credentials", "scope": "cv.changes"}
    auth = example.Bearer("http://provider/token", form)
    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", auth=auth) as client:
        assert [(await client.get("/v1/feed/cv")).status_code for _ in range(3)] == [200] * 3
        assert given == ["token-1"]
        given.append("token-2")
        assert (await client.get("/v1/feed/cv")).status_code == 200
        assert given == ["token-1", "token-2", "token-3"]
        given.append("token-4")
        provider_status = 503
        with pytest.raises(httpx.TransportError):
            await client.get("/v1/feed/cv")
        given.append("token-6")
        provider_status = 401
        with pytest.raises(httpx.HTTPStatusError):
            await client.get("/v1/feed/cv")
