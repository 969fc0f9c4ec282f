"""The citizens of the cast by their case."""

from dataclasses import replace
from itertools import count
from typing import Final

import httpx
from tests.e2e.intake import deliver
from tests.e2e.system import System

from cvhub.people import SEED
from cvhub.synthetic import CASES, SyntheticCitizen, citizen_of_case, citizens

_first: Final = count(850_000, 100)
"""Index of the first of those of whom a newcomer has the numbers; nobody else's test is about them."""


def case(label: str) -> SyntheticCitizen:
    return citizen_of_case(SEED, label)


async def newcomer(system: System, http: httpx.AsyncClient, label: str) -> SyntheticCitizen:
    """Tell the registry of somebody new who is as the citizen of this case, but has no CV yet; gives another one each time."""
    like, fresh = case(label), next(one for one in citizens(SEED, 100, start=next(_first)) if one.cv_number)
    numbers = {"personNumber": fresh.person_number, "cvNumber": fresh.cv_number}
    one = replace(like, index=fresh.index, citizen={**like.citizen, **numbers})
    await deliver(system, http, one.citizen)
    return one


def number(label: str) -> str:
    return case(label).person_number


def meant(text: str) -> str:
    """Give the person number of a case; anything else means itself."""
    return number(text) if text in CASES else text
