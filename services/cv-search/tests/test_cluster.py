"""The whole service on a real OpenSearch: two instances search one index, which one of them writes and builds anew."""

from datetime import timedelta
from typing import Any

import pytest

from cv_search.settings import IndexSettings, Settings
from cv_search.testing import World
from servicekit.testing import eventually

pytestmark = [pytest.mark.infra, pytest.mark.opensearch]

PATIENCE = timedelta(seconds=60)


async def finds(world: World, *numbers: str) -> None:
    assert sorted(await world.found("vagtplan", ResultsPerPage=100)) == sorted(numbers)


async def test_two_instances_search_one_index_and_it_is_built_anew_beside_the_live_one(
    settings: Settings, start: Any, opensearch: str
) -> None:
    index = IndexSettings(opensearch_url=opensearch, commit_every=0.05)
    shared = settings.model_copy(update={"index": index})
    async with start(shared) as one:
        await eventually(lambda: one.parts.indexer.serving, PATIENCE)
        people = [one.new(10000000 + i, "vagtplan") for i in range(12)]
        numbers = [person.cv_number for person in people]
        await one.told(*people)
        await finds(one, *numbers)
        first = (await one.search("vagtplan", ResultsPerPage=5)).json()["SearchCVTextResult"]
        assert first["OccupationNames"] == [{"Name": "Sygeplejerske", "Count": 12}]
        async with start(shared) as two:
            await eventually(lambda: two.parts.indexer.serving, PATIENCE)
            await eventually(lambda: finds(two, *numbers), PATIENCE)
            place = two.parts.indexer.serving.place
            assert place == one.parts.indexer.serving.place
            why = {"who": "drift", "reason": "øvelse"}
            for world in (one, two):
                await world.operate("POST", "/internal/operations/index/rebuild", why)
            one.citizen(people[0], 10000000, dead=True)
            await two.hear("citizens", people[0])
            await eventually(lambda: two.parts.indexer.serving.place != place, PATIENCE)
            await eventually(lambda: finds(one, *numbers[1:]), PATIENCE)
            await eventually(lambda: finds(two, *numbers[1:]), PATIENCE)
        later = await one.search(Id=first["Id"], ResultsPerPage=5, PageNumber=3)
        assert later.json()["SearchCVTextResult"]["TotalResults"] == 12
        await one.told(one.new(20000000, "vagtplan"))
        await eventually(lambda: finds(one, "20000000", *numbers[1:]), PATIENCE)
