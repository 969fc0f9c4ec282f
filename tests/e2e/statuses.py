"""Citizens whose status can be set, setting it as the authority that may, and reading it."""

import httpx
from tests.e2e.caller import Caller, Json, population

from cvhub.people import SEED
from cvhub.synthetic import SyntheticCitizen, citizen_of_case

STATUS = "cv-status"
STARTED, READY, APPROVED, REJECTED = 1, 2, 3, 5


def of_group(number: int) -> list[SyntheticCitizen]:
    """Give citizens of the population in a contact group, those last whom no other test writes about."""
    return [one for one in population(200) if one.citizen.get("contactGroup") == number]


def on_benefit() -> SyntheticCitizen:
    """Give a citizen on kontanthjælp, whose jobcenter sets the status."""
    return citizen_of_case(SEED, "contact-group-2")


def authority(one: SyntheticCitizen, kind: int) -> str:
    """Give the authority of this type that the citizen belongs to, written type:code."""
    found = [r for r in one.citizen["relations"] if r["organisationType"] == kind and "to" not in r]
    return f"{kind}:{found[-1]['organisationCode']}"


def status_body(one: SyntheticCitizen, status: int, comment: str | None = None) -> Json:
    body = {
        "PersonCivilRegistrationIdentifier": one.person_number,
        "CvCustomerIdentifier": one.cv_number,
        "CvStatusIdentifier": status,
    }
    return {"CvStatusSet": body if comment is None else {**body, "CvComment": comment}}


async def set_status(
    caller: Caller, one: SyntheticCitizen, status: int, comment: str | None = None, **headers: str | None
) -> httpx.Response:
    return await caller.call("POST", "/v6/Cv/cvstatus", None, status_body(one, status, comment), **headers)


async def status_of(caller: Caller, one: SyntheticCitizen) -> Json:
    answer = await caller.call("GET", "/v6/Cv/cvstatus", one.person_number)
    assert answer.status_code == 200, answer.text
    status: Json = answer.json()["CvStatus"]
    return status
