"""The index is made of the service's own rows: whatever becomes of it, it is made anew, and searched all the while."""

import asyncio
import os
import random
import resource
import shutil
import signal
import string
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from cv_citizens.danish_time import danish_today
from cv_contracts.codelists import default
from cv_search.document import Documents
from cv_search.refreshing import Refresh, maker_of
from cv_search.settings import Settings
from cv_search.store import SearchDocuments
from cv_search.testing import Someone, World
from servicekit.testing import end, eventually

pytestmark = pytest.mark.infra

PATIENCE = timedelta(seconds=60)


async def some(world: World, count: int, text: str = "vagtplan") -> list[Someone]:
    people = [world.new(10000000 + i, text) for i in range(count)]
    await world.told(*people)
    return people


async def is_whole(world: World, people: list[Someone], text: str = "vagtplan") -> None:
    found = await world.found(text, ResultsPerPage=100)
    assert sorted(found) == sorted(one.cv_number for one in people)


async def test_whoever_may_no_longer_be_found_leaves_at_once(world: World) -> None:
    dead, archived, protected, erased, rejected, stays = people = await some(world, 6)
    world.citizen(dead, 10000000, dead=True)
    world.replace(archived, "vagtplan", state="ARCHIVED")
    world.citizen(protected, 10000002, nameProtected=True)
    world.erase(erased)
    world.set_status(rejected, 5)
    world.set_status(stays, 3)
    await world.told(*people)
    await is_whole(world, [stays])
    kept = await world.parts.database.fetch("select document, shown from search_documents order by change")
    assert [row["document"] is None and row["shown"] is None for row in kept] == [False, *[True] * 5]
    names = await world.parts.database.fetch("select encode(part, 'escape') as part from citizen_parts")
    assert sum("Fornavn" in row["part"] for row in names) == 3


async def test_who_moves_is_shown_under_the_new_municipality_and_comes_back_when_nothing_is_in_the_way(
    world: World,
) -> None:
    [one] = await some(world, 1)
    world.citizen(one, 10000000, municipality="751")
    world.set_status(one, 5)
    await world.told(one)
    assert await world.found("vagtplan") == []
    world.set_status(one, 2)
    await world.told(one)
    answer = await world.search("vagtplan", Cities=["Aarhus C"])
    [person] = answer.json()["SearchCVTextResult"]["CVPersons"]
    assert person["Municipality"] == {"MunicipalityCode": "751", "MunicipalityName": "Aarhus"}


async def test_a_relation_that_begins_tomorrow_changes_the_document_tomorrow(world: World) -> None:
    [one] = await some(world, 1)
    today = danish_today()
    moves = [
        {"organisationType": 7, "organisationCode": "101", "from": "2020-01-01", "to": today.isoformat()},
        {"organisationType": 7, "organisationCode": "751", "from": (today + timedelta(days=1)).isoformat()},
    ]
    world.citizen(one, 10000000, relations=moves)
    await world.told(one)
    shown = (await world.search()).json()["SearchCVTextResult"]["CVPersons"][0]
    assert shown["Municipality"]["MunicipalityCode"] == "101"
    tomorrow = SearchDocuments(
        world.parts.database, Documents(default()).document, lambda: today + timedelta(days=1)
    )
    await Refresh(tomorrow, lambda: maker_of(default())).step()
    await world.indexed()
    shown = (await world.search()).json()["SearchCVTextResult"]["CVPersons"][0]
    assert shown["Municipality"]["MunicipalityCode"] == "751"


async def test_what_is_told_again_and_what_changes_nothing_is_not_indexed_again(world: World) -> None:
    people = await some(world, 3)
    before = await world.parts.documents.edge()
    world.set_status(people[0], 2)
    await world.told(*people)
    assert await world.parts.documents.edge() == before


async def test_changes_are_numbered_in_the_order_of_their_commits(world: World) -> None:
    people = [world.new(10000000 + i) for i in range(30)]
    for kind in ("citizens", "cvs"):
        await world.hear(kind, *people)
    seen: list[int] = []

    async def watch() -> None:
        while len(seen) < 400:
            edge = await world.parts.documents.edge()
            after = await world.parts.documents.after(max(seen, default=0), edge.change, 1_000)
            seen.extend(one.change for one in after)
            if after and (last := after[-1].change) > edge.change:
                pytest.fail(f"{last} was committed before {edge.change} was told")
            await asyncio.sleep(0)

    async def change(mine: list[Someone]) -> None:
        for round_ in range(30):
            for one in mine:
                world.replace(one, f"runde {round_}")
            await world.hear("cvs", *mine)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(change(people[i::3]) for i in range(3)))
    await end(watching)
    assert seen == sorted(set(seen))
    final = await world.parts.database.fetch("select change from search_documents order by change")
    missed = {row["change"] for row in final} - set(seen)
    assert all(change > max(seen) for change in missed)


async def test_an_index_deleted_under_the_service_is_built_anew_and_searched_all_the_while(
    world: World,
) -> None:
    people = await some(world, 20)
    place = world.parts.indexer.serving.place
    shutil.rmtree(place.path)

    async def is_another() -> None:
        await is_whole(world, people)
        assert world.parts.indexer.serving.place != place

    await eventually(is_another, PATIENCE)
    world.replace(people[0], "genopbygget")
    await world.told(people[0])
    assert await world.found("genopbygget") == ["10000000"]


async def test_an_index_torn_while_it_is_searched_is_built_anew(world: World) -> None:
    people = await some(world, 20)
    torn = world.parts.indexer.serving.place
    segment = max(torn.path.glob("*.store"), key=lambda path: path.stat().st_size)
    damaged = segment.with_name("damaged")
    damaged.write_bytes(segment.read_bytes()[:-20])
    await is_whole(world, people)
    damaged.replace(segment)
    await is_whole(world, people)
    for pid in world.parts.workers.pids:
        os.kill(pid, signal.SIGKILL)
    assert (await world.search("vagtplan")).status_code == 503

    async def is_searched_again() -> None:
        assert (await world.search("vagtplan")).status_code == 200
        assert world.parts.indexer.serving.place != torn

    await eventually(is_searched_again, PATIENCE)
    await is_whole(world, people)


async def test_a_torn_index_and_one_of_another_database_are_built_anew_at_the_start(
    settings: Settings, start: Any
) -> None:
    async with start(settings) as world:
        await eventually(lambda: world.parts.indexer.serving)
        people = await some(world, 20)
        torn = world.parts.indexer.serving.place.path
    [segment] = [max(torn.glob("*.store"), key=lambda path: path.stat().st_size)]
    segment.write_bytes(segment.read_bytes()[:-20])
    async with start(settings) as world:
        await eventually(lambda: is_whole(world, people), PATIENCE)
        assert world.parts.indexer.serving.place.path != torn
        await world.parts.database.execute("update search_state set database = gen_random_uuid()")
        before = world.parts.indexer.serving.place
        await eventually(lambda: world.parts.indexer.serving.place != before, PATIENCE)
        await is_whole(world, people)


async def test_an_operator_rebuilds_the_index_and_the_projections_while_everybody_searches(
    world: World,
) -> None:
    people = await some(world, 60)
    before, answers = world.parts.indexer.serving.place, []

    async def search_on() -> None:
        while True:
            answers.append((await world.search("vagtplan")).status_code)

    searching = asyncio.create_task(search_on())
    why = {"who": "drift", "reason": "øvelse"}
    assert (await world.operate("POST", "/internal/operations/index/rebuild", why)).status_code == 200
    for one in people[:10]:
        world.replace(one, "undervejs")
    await world.told(*people[:10])
    await eventually(lambda: world.parts.indexer.serving.place != before, PATIENCE)
    # What the owner has by now and nobody was told of: one CV less, one more.
    newcomer = world.new(19999999, "vagtplan")
    world.owners.put("cvs", people[59].cv_id, 99, {**people[59].cv, "state": "ARCHIVED", "content": {}})
    await world.hear("citizens", newcomer)
    answer = await world.operate("POST", "/internal/operations/projections/cvs/rebuild", why)
    assert answer.json() == {"generation": 2}
    await eventually(lambda: is_whole(world, [*people[10:59], newcomer]), PATIENCE)
    await end(searching)
    assert set(answers) == {200}
    assert len(await world.found("undervejs", ResultsPerPage=100)) == 10


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Let writing fail as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_when_the_disk_is_full_the_old_is_searched_and_the_new_comes_with_the_space(
    world: World,
) -> None:
    people = await some(world, 5)
    letters = [
        "".join(random.choices(string.ascii_lowercase, k=12))  # noqa: S311 - words nobody has
        for _ in range(6_000)
    ]
    late = [world.new(20000000 + i, " ".join(letters[i * 600 :][:600])) for i in range(10)]
    with files_no_longer_than(20_000):
        for kind in ("citizens", "cvs"):
            await world.hear(kind, *late)
        await eventually(lambda: world.parts.indexer.progress.trouble == "EngineError", PATIENCE)
        await is_whole(world, people)
    await eventually(lambda: is_whole(world, late[:1], letters[0]), PATIENCE)
    assert world.parts.indexer.progress.trouble is None
    await is_whole(world, people)
