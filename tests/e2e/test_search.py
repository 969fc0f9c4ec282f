"""Search through the gateway: a write is found at once, and whoever may not be found is not."""

import asyncio

import pytest
from tests.e2e.caller import FUND, JOBCENTER, JOBNET, Caller, cv_saying, fault, population
from tests.e2e.searches import PATIENCE, numbers, search
from tests.e2e.system import System

from servicekit.testing import eventually

pytestmark = pytest.mark.timeout(400)

SEARCH = "cv-search"
COMPANY = "24:87654321"


async def test_a_saved_cv_is_found_by_its_new_word_at_once_and_counted(caller: Caller) -> None:
    one, vendor = population(200)[-20], caller.acting(JOBNET, client="one-system-for-both")
    saved = await vendor.replace_cv(one.person_number, cv_saying("<p>kvantefalkonering</p>", one))
    token = saved.headers["x-consistency-token"]
    assert await numbers(vendor.acting(JOBCENTER), "kvantefalkonering", token) == [one.cv_number]
    result = (await search(caller.acting(FUND), "kvantefalkonering")).json()["SearchCVTextResult"]
    assert result["TotalResults"] == 1
    assert result["Cities"][0]["Count"] == 1


async def test_a_company_may_not_search_and_an_unknown_place_is_named(caller: Caller) -> None:
    assert fault(await search(caller.acting(COMPANY))) == (403, 8292)
    answer = await search(caller, CloseToPostalCode="0001")
    assert fault(answer) == (400, 1014)
    assert answer.json()["errors"][0]["element"] == "searchInput.CloseToPostalCode"


@pytest.mark.long
async def test_killed_it_comes_back_with_all_that_was_saved_meanwhile(system: System, caller: Caller) -> None:
    one = population(200)[-21]
    await asyncio.to_thread(system.kill, SEARCH)
    await caller.replace_cv(one.person_number, cv_saying("<p>genopstandelsesord</p>", one))
    await asyncio.to_thread(system.revive, SEARCH)

    async def found() -> None:
        assert await numbers(caller, "genopstandelsesord") == [one.cv_number]

    await eventually(found, PATIENCE)
