"""SearchCVText from the body to the answer: who may search, what is shown and counted, pages, tokens, access rows, limits."""

import asyncio
import random
from typing import Any

import orjson
import pytest

from cv_citizens.testing import COMPANY, FUND, JOBCENTER, MUNICIPALITY, STAR, a_caller
from cv_search.pins import FEW
from cv_search.settings import PinSettings, ReaderSettings, Settings
from cv_search.testing import NO_ID, World, search_input, token_of
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


async def result(world: World, text: str | None = None, **wanted: Any) -> dict[str, Any]:
    answer = await world.search(text, **wanted)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["SearchCVTextResult"]
    return found


async def test_a_cv_is_found_by_its_words_with_its_citizen_and_counted_in_the_groups(world: World) -> None:
    one, other = world.new(10000001, "erfaring med dialyse"), world.new(10000002, job="Tømrer")
    await world.told(one, other)
    found = await result(world, "dialyse")
    assert found["TotalResults"] == 1
    assert found["CVPersons"] == [
        {
            "Municipality": {"MunicipalityCode": "101", "MunicipalityName": "København"},
            "CVNumber": "10000001",
            "FirstName": "Fornavn10000001",
            "LastName": "Efternavn10000001",
            "PostalCode": "2100",
            "City": "København Ø",
            "OccupationNames": ["Sygeplejerske"],
            "GeoPointLat": 55.7072,
            "GeoPointLon": 12.572,
        }
    ]
    assert found["OccupationNames"] == [{"Name": "Sygeplejerske", "Count": 1}]
    assert found["Cities"] == [{"Name": "København Ø", "Count": 1}]
    everybody = await result(world)
    names = [(one["Name"], one["Count"]) for one in everybody["OccupationNames"]]
    assert names == [("Sygeplejerske", 1), ("Tømrer", 1)]
    assert len(everybody) == 4 + 12


async def test_without_search_input_there_is_no_result(world: World) -> None:
    assert (await world.post({})).json() == {}


async def test_companies_may_not_search_and_the_others_may(world: World) -> None:
    for body in ({}, {"searchInput": search_input()}):
        refused = await world.post(body, a_caller(COMPANY))
        assert (refused.status_code, refused.json()["code"]) == (403, 8292)
        for active in (FUND, MUNICIPALITY, STAR):
            assert (await world.post(body, a_caller(active))).status_code == 200


async def test_pages_neither_repeat_nor_skip_while_others_change_and_who_left_is_not_shown(
    world: World,
) -> None:
    people = [world.new(20000000 + i, "vagtplan") for i in range(40)]
    await world.told(*people)
    first = await result(world, "vagtplan", ResultsPerPage=7)
    expected = [one["CVNumber"] for one in (await result(world, "vagtplan", ResultsPerPage=100))["CVPersons"]]
    seen = [one["CVNumber"] for one in first["CVPersons"]]
    gone = next(one for one in people if one.cv_number == expected[-1])
    for number in range(2, 7):
        for one in random.sample(people[:30], 10):
            world.replace(one, "vagtplan " * random.randint(1, 9))  # noqa: S311 - any will do
        newcomer = world.new(30000000 + number, "vagtplan vagtplan vagtplan")
        if number == 6:
            world.citizen(gone, int(gone.cv_number), dead=True)
        await world.told(newcomer, *people)
        page = await result(world, "noget helt andet", Id=first["Id"], ResultsPerPage=7, PageNumber=number)
        assert page["Id"] == first["Id"]
        assert page["TotalResults"] == 40
        assert page["OccupationNames"] == first["OccupationNames"]
        seen += [one["CVNumber"] for one in page["CVPersons"]]
    assert seen == [number for number in expected if number != gone.cv_number]


async def test_the_id_of_a_search_is_its_callers_own(world: World) -> None:
    number = (await result(world))["Id"]
    another = a_caller(JOBCENTER, user="sb2")
    for who, given in ((another, number), (a_caller(JOBCENTER), "11111111-1111-1111-1111-111111111111")):
        answer = await world.search(who=who, Id=given)
        assert (answer.status_code, answer.json()["code"]) == (400, 1014)
        assert answer.json()["errors"][0]["element"] == "searchInput.Id"


async def test_groups_are_cut_to_the_limit_on_every_page(world: World) -> None:
    await world.told(*(world.new(10000000 + i, job=job) for i, job in enumerate(("Tømrer", "Kok", "Kok"))))
    first = await result(world, GroupLimit=1)
    assert first["OccupationNames"] == [{"Name": "Kok", "Count": 2}]
    again = await result(world, GroupLimit=0, Id=first["Id"])
    assert again["OccupationNames"] == []


async def test_the_largest_numbers_that_an_int_holds_are_searched_with(world: World) -> None:
    await world.told(world.new(10000001), world.new(10000002))
    most = 2**31 - 1
    circle: dict[str, Any] = {
        "SearchFromGeoPointLat": -55.0,
        "SearchFromGeoPointLon": -170.0,
        "SearchInGeoDistance": most,
    }
    first = await result(world, **circle, GroupLimit=most)
    assert len(first["CVPersons"]) == first["TotalResults"] == 2
    assert first["OccupationNames"]
    for number in (NO_ID, first["Id"]):
        page = await result(world, Id=number, PageNumber=most, ResultsPerPage=100)
        assert (page["PageNumber"], page["TotalResults"], page["CVPersons"]) == (most, 2, [])


async def test_each_search_leaves_a_row_with_whom_it_has_shown_and_without_its_words(world: World) -> None:
    one, other = world.new(10000001, "hemmelighed"), world.new(10000002, "andet")
    await world.told(one, other)
    await world.search("hemmelighed", Cities=["København Ø"])
    [row] = await world.parts.database.fetch("select subject, method, client, detail from access_log")
    assert (row["subject"], row["method"], row["client"]) == (None, "SearchCVText", "client-1")
    assert orjson.loads(row["detail"]) == {
        "query": {"SearchString": 1, "Cities": 1},
        "found": 1,
        "page": 1,
        "shown": [str(one.person_id)],
    }
    period = {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    asked = [
        await world.operate(
            "POST", "/internal/operations/access-log", {**period, "subject": str(p.person_id)}
        )
        for p in (one, other)
    ]
    assert [len(answer.json()["rows"]) for answer in asked] == [1, 0]
    assert asked[0].json()["rows"][0]["user_identifier"] == "sb1"


async def rows_of(world: World) -> list[list[str]]:
    """Give whom each search that was noted has shown, the newest last."""
    rows = await world.parts.database.fetch("select detail from access_log order by at")
    return [orjson.loads(row["detail"])["shown"] for row in rows]


async def test_a_page_without_the_person_that_total_and_groups_are_about_is_noted_with_that_person(
    world: World,
) -> None:
    one = world.new(10000001, "kendetegn")
    await world.told(one, world.new(10000002))
    second = await result(world, "kendetegn", PageNumber=2)
    assert (second["TotalResults"], second["CVPersons"]) == (1, [])
    assert second["Cities"] == [{"Name": "København Ø", "Count": 1}]
    assert await rows_of(world) == [[str(one.person_id)]]


async def test_a_result_of_few_is_noted_with_all_of_them_on_every_page_and_one_of_many_with_the_page(
    world: World,
) -> None:
    people = [world.new(10000001 + i, "kendetegn") for i in range(FEW)]
    all_of_them = {str(one.person_id) for one in people}
    await world.told(*people)
    first = await result(world, "kendetegn", ResultsPerPage=1)
    gone = next(one for one in people if one.cv_number != first["CVPersons"][0]["CVNumber"])
    world.erase(gone)
    await world.told(gone)
    again = await result(world, Id=first["Id"], ResultsPerPage=100)
    assert (again["TotalResults"], len(again["CVPersons"])) == (FEW, FEW - 1)
    await world.told(*(world.new(20000001 + i, "kendetegn") for i in range(2)))
    many = await result(world, "kendetegn", ResultsPerPage=3)
    assert many["TotalResults"] == FEW + 1
    noted = await rows_of(world)
    assert [len(shown) for shown in noted] == [FEW, FEW, 3]
    assert set(noted[0]) == set(noted[1]) == all_of_them


async def test_no_answer_leaves_without_its_access_row(world: World) -> None:
    await world.told(world.new(10000001))
    await world.parts.database.execute("alter table access_log rename to access_log_away")
    answer = await world.search()
    assert answer.status_code == 503
    assert "Fornavn" not in answer.text


async def test_a_search_waits_for_the_write_that_its_token_names(world: World) -> None:
    one = world.new(10000001, "før")
    await world.told(one)
    saved = world.replace(one, "efterskrift")
    searching = asyncio.create_task(world.search("efterskrift", headers=token_of(saved)))
    await world.hear("cvs", one)
    found = (await searching).json()["SearchCVTextResult"]
    assert [one["CVNumber"] for one in found["CVPersons"]] == ["10000001"]


async def test_a_token_of_a_write_that_does_not_come_is_answered_503(world: World) -> None:
    one = world.new(10000001)
    answer = await world.search(headers=token_of(world.set_status(one, 3)))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_a_search_over_its_budget_is_ended_and_nothing_of_it_goes_on(
    settings: Settings, start: Any
) -> None:
    tight = settings.model_copy(update={"readers": ReaderSettings(processes=1, budget=0.000_2)})
    async with start(tight) as world:
        await eventually(lambda: world.parts.indexer.serving and bool(world.parts.workers.pids))
        before = world.parts.workers.pids
        answer = await world.search()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        await eventually(lambda: world.parts.workers.pids not in ([], before))


async def test_a_long_result_is_paged_through_to_its_bound_and_no_further(
    settings: Settings, start: Any
) -> None:
    async with start(settings.model_copy(update={"pins": PinSettings(persons=100)})) as world:
        await eventually(lambda: world.parts.indexer.serving)
        await world.told(*(world.new(10000000 + i) for i in range(105)))
        first = await result(world, ResultsPerPage=60)
        second = await result(world, ResultsPerPage=60, PageNumber=2, Id=first["Id"])
        assert (first["TotalResults"], len(first["CVPersons"]), len(second["CVPersons"])) == (105, 60, 40)
        for size in (60, 50):
            answer = await world.search(ResultsPerPage=size, PageNumber=3, Id=first["Id"])
            assert answer.json()["errors"][0]["element"] == "searchInput.PageNumber"


async def test_only_the_gateway_may_search_and_only_an_operator_operates(world: World) -> None:
    wrong = {
        "authorization": f"Bearer {world.signers['cv-registry'].token('cv-search', a_caller(JOBCENTER))}"
    }
    assert (await world.search(headers=wrong)).status_code == 403
    answer = await world.client.get("/internal/operations/index", headers=wrong)
    assert answer.status_code == 403

    async def is_told() -> bool:
        told = (await world.operate("GET", "/internal/operations/index")).json()
        return (told["building"], told["lag_seconds"]) == (False, 0)

    await eventually(is_told)
