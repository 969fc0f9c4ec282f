"""The walk's steps about search: candidates near a place with their groups, and a CV found by a new word at once."""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from cvhub.walk.journey import JOBNET, PATIENCE, Journey, NotAsItShould, Seen, Step, expect

PATH = "/v6/Cv/search"
WORD, NEAR = "sygeplejerske", "1368"
SHOWN = 3
LETTERS = "abdefghiklmnoprstuv"


async def near_a_place(journey: Journey) -> Seen:
    """Search as the jobcenter, 40 km around a postal code."""
    organisation, body = journey.person.jobcenter, _input(SearchString=WORD, CloseToPostalCode=NEAR)
    result = await _found(journey, organisation, body, {})
    if not result["CVPersons"]:
        raise NotAsItShould(f"nobody is found for '{WORD}' near {NEAR}")
    persons = "; ".join(_person(one) for one in result["CVPersons"][:SHOWN])
    groups = ", ".join(f"{one['Name']} ({one['Count']})" for one in result["OccupationNames"][:SHOWN])
    said = f"{result['TotalResults']} found: {persons}; occupations: {groups}"
    return Seen(said, _curl(journey, organisation, body))


async def by_a_new_word(journey: Journey) -> Seen:
    """Replace the CV with a word that nobody has, and find it by that word with the write's token."""
    word = "".join(secrets.choice(LETTERS) for _ in range(12))
    cv = {**journey.person.cv}
    cv["CV"] = {**cv["CV"], "ProfessionalSummaryText": {"HTMLText": f"<p>Erfaring med {word}.</p>"}}
    headers = {"x-civilregistrationidentifier": journey.person.person_number}
    saved = await journey.call("PUT", "/v6/Cv", JOBNET, headers=headers, body=cv)
    expect(saved, 200)
    begun = time.monotonic()
    organisation, body = journey.person.jobcenter, _input(SearchString=word)
    seen = {"x-consistency-token": saved.headers["x-consistency-token"]}
    persons = (await _found(journey, organisation, body, seen))["CVPersons"]
    took = (time.monotonic() - begun) * 1000
    if [one["CVNumber"] for one in persons] != [journey.person.cv_number]:
        raise NotAsItShould("the CV just replaced is not found by its new word")
    return Seen(
        f"'{word}' finds CV {persons[0]['CVNumber']} after {took:.0f} ms", _curl(journey, organisation, body)
    )


STEPS: Mapping[str, Step] = {
    f"SearchCVText: '{WORD}' within 40 km of {NEAR}": near_a_place,
    "SearchCVText: a CV is replaced, and found by a new word at once": by_a_new_word,
}


async def _found(
    journey: Journey, organisation: str, body: Mapping[str, Any], headers: Mapping[str, str]
) -> Mapping[str, Any]:
    """Search; a system that has just been filled may need a moment until all are in the index."""
    until = time.monotonic() + PATIENCE
    while True:
        answer = await journey.call("POST", PATH, organisation, headers=headers, body=body)
        result: Mapping[str, Any] = expect(answer, 200)["SearchCVTextResult"]
        if result["CVPersons"] or time.monotonic() > until:
            return result
        await asyncio.sleep(0.25)


def _input(**elements: Any) -> dict[str, Any]:
    return {
        "searchInput": {
            "Id": "00000000-0000-0000-0000-000000000000",
            "GroupLimit": 64,
            "ShowOnlyEnrolled": False,
            "PageNumber": 1,
            "ResultsPerPage": 20,
            "OrganisationCode": 0,
            "OrganisationTypeIdentifier": 0,
            "IsDateIntervalSpecified": False,
            "UpdatedBefore": "2100-01-01T00:00:00Z",
            "UpdatedLaterThan": "2000-01-01T00:00:00Z",
            **elements,
        }
    }


def _person(one: Mapping[str, Any]) -> str:
    return f"{one['FirstName']} {one['LastName']}, {one['City']} (CV {one['CVNumber']})"


def _curl(journey: Journey, organisation: str, body: Mapping[str, Any]) -> str:
    data = f"'{json.dumps(body, ensure_ascii=False)}'"
    return journey.curl("POST", PATH, organisation, "cv.search", {}, data=data)
