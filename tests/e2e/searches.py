"""Searching through the gateway, and reading whom it has found."""

from datetime import timedelta
from functools import partial
from typing import Any

import httpx
from tests.e2e.caller import Caller, Json, caught_up

PATIENCE = timedelta(seconds=60)


def wanted(text: str | None = None, **elements: Any) -> Json:
    given = {
        "Id": "00000000-0000-0000-0000-000000000000",
        "GroupLimit": 64,
        "ShowOnlyEnrolled": False,
        "PageNumber": 1,
        "ResultsPerPage": 100,
        "OrganisationCode": 0,
        "OrganisationTypeIdentifier": 0,
        "IsDateIntervalSpecified": False,
        "UpdatedBefore": "2100-01-01T00:00:00Z",
        "UpdatedLaterThan": "2000-01-01T00:00:00Z",
        **elements,
    }
    return {"searchInput": given if text is None else {**given, "SearchString": text}}


async def search(
    caller: Caller, text: str | None = None, token: str | None = None, **elements: Any
) -> httpx.Response:
    return await caller.call(
        "POST", "/v6/Cv/search", None, wanted(text, **elements), x_consistency_token=token
    )


async def numbers(caller: Caller, text: str, token: str | None = None) -> list[str]:
    reading = partial(search, caller, text, token)
    answer = await reading() if token is None else await caught_up(reading)
    assert answer.status_code == 200, answer.text
    return [one["CVNumber"] for one in answer.json()["SearchCVTextResult"]["CVPersons"]]
