"""A thousand bad requests of every kind: each is a fault that names what is wrong, none costs anything, none is quoted."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from cv_search.testing import World, search_input

pytestmark = pytest.mark.infra

SECRET = "Hemmelighedskræmmer"
BAD_VALUES: dict[str, list[Any]] = {
    "Id": [None, "", "x", 7, SECRET, "0000000-0000-0000-0000-000000000000"],
    "GroupLimit": [None, -1, "64", 1.5, 2**31],
    "SearchString": [
        7,
        ["a"],
        "x" * 1001,
        "\u0000",
        "ab*",
        " ".join(["ord"] * 40 + [SECRET * 3]),
        '"stor bil" ' * 20,
    ],
    "SearchStringSecondary": [False, {"a": 1}, "y" * 2000, "a*"],
    "CloseToPostalCode": ["0001", "21000", SECRET, 2100, "-1"],
    "CloseToCity": ["Atlantis", SECRET, 1],
    "OccupationNames": ["Kok", [1], ["x" * 300], ["a"] * 201],
    "EducationLevels": [["Doctor"], "Master", [SECRET]],
    "DriversLicenses": [["Z"], [None]],
    "WorkTime": [["Halvtid"], [SECRET]],
    "WorkStart": [["I morgen"]],
    "EmploymentType": [["Vikar"]],
    "TermsOfEmployments": [["Ulønnet"]],
    "Languages": [{"da": 1}],
    "ShowOnlyEnrolled": [None, "true", 1],
    "PageNumber": [0, -1, "1", 1.0001, 2**31],
    "ResultsPerPage": [0, 101, None],
    "OrganisationCode": ["0", None, 2**33],
    "OrganisationTypeIdentifier": ["7", None, 2**33],
    "IsDateIntervalSpecified": ["yes", 0],
    "UpdatedBefore": ["i går", "2026-13-01T00:00:00Z", 7],
    "UpdatedLaterThan": [None, "2026-02-30T00:00:00"],
    "SearchFromGeoPointLat": [91, "55", -90.1],
    "SearchFromGeoPointLon": [181, "12"],
    "SearchInGeoDistance": [-1, 2**31, 1.5],
    "Ukendt": [1, SECRET],
}
NOT_JSON = [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"searchInput": }', b"null", b"[" * 2000]


def bad_requests(seed: int) -> Iterator[tuple[bytes, str | None]]:
    """Give bodies, each with the element that the fault must name, or None where nothing can be named."""
    dice = random.Random(seed)  # noqa: S311 - the same ones each time
    for raw in NOT_JSON:
        yield raw, None
    for element, values in BAD_VALUES.items():
        for value in values:
            yield json.dumps({"searchInput": search_input(**{element: value})}).encode(), element
    while True:
        first, second = dice.sample(sorted(BAD_VALUES), 2)
        elements = {name: dice.choice(BAD_VALUES[name]) for name in (first, second)}
        yield json.dumps({"searchInput": search_input(**elements)}).encode(), None


async def test_each_is_refused_by_name_and_quotes_nothing(world: World) -> None:
    await world.told(world.new(10000001))
    requests = bad_requests(7)
    for _ in range(1_000):
        body, element = next(requests)
        answer = await world.post(body)
        assert answer.status_code == 400, (body, answer.text)
        problem = answer.json()
        assert problem["code"] == 1014
        assert SECRET not in answer.text
        named = [error["element"] for error in problem["errors"]]
        # Unknown elements are not repeated: anything may stand there.
        expected = "searchInput" if element == "Ukendt" else element or ""
        assert any(expected in name for name in named), (body, named)
    assert await world.found() == ["10000001"]
    assert await world.parts.database.fetchval("select count(*) from access_log") == 1
