"""The walk's steps about the status: set by the citizen's a-kasse, seen at once, frozen, and refused to another authority."""

import json
from collections.abc import Mapping

from cvhub.walk.journey import Journey, NotAsItShould, Seen, Step, expect, fault

PATH = "/v6/Cv/cvstatus"
READY, APPROVED = 2, 3
BENEFIT_OF_THE_A_KASSE = 4368


async def set_ready(journey: Journey) -> Seen:
    return await _set(journey, READY)


async def set_approved(journey: Journey) -> Seen:
    return await _set(journey, APPROVED)


async def get_cv(journey: Journey) -> Seen:
    headers = {
        "x-civilregistrationidentifier": journey.person.person_number,
        "x-consistency-token": journey.consistency,
    }
    organisation = journey.person.jobcenter
    body = expect(await journey.call("GET", "/v6/Cv", organisation, headers=headers), 200)
    if body.get("CVStatusIdentifier") != APPROVED:
        raise NotAsItShould("GetCV answers another status than the one just set")
    command = journey.curl("GET", "/v6/Cv", organisation, "cv.read", headers)
    return Seen(f"CVStatusIdentifier {APPROVED}, the status just set", command)


async def get_status(journey: Journey) -> Seen:
    headers = {
        "x-civilregistrationidentifier": journey.person.person_number,
        "x-cvcustomeridentifier": journey.person.cv_number,
    }
    organisation = journey.person.jobcenter
    status = expect(await journey.call("GET", PATH, organisation, headers=headers), 200)["CvStatus"]
    if status["CvStatusIdentifier"] != APPROVED:
        raise NotAsItShould("GetCvStatus answers another status than the one just set")
    command = journey.curl("GET", PATH, organisation, "cv.read", headers)
    return Seen(f"status {APPROVED}, CVAvailability {status['CVAvailability']}", command)


async def get_versions(journey: Journey) -> Seen:
    headers = {"x-civilregistrationidentifier": journey.person.person_number}
    organisation, path = journey.person.jobcenter, "/v6/Cv/versions"
    body = expect(await journey.call("GET", path, organisation, headers=headers), 200)
    versions = body["AvailableCVStatusVersionCollection"]
    if [version["CVStatusIdentifier"] for version in versions[:2]] != [APPROVED, READY]:
        raise NotAsItShould("the newest versions are not those of the two statuses just set")
    newest = versions[0]["CVVersionIdentifier"]
    command = journey.curl("GET", path, organisation, "cv.read", headers)
    return Seen(f"{len(versions)} versions, the newest {newest}", command)


async def refused(journey: Journey) -> Seen:
    organisation = journey.person.jobcenter
    body = _body(journey, APPROVED)
    answer = await journey.call("POST", PATH, organisation, headers={}, body=body)
    said = fault(answer, 403, BENEFIT_OF_THE_A_KASSE)
    command = journey.curl("POST", PATH, organisation, "cv.status", {}, data=f"'{json.dumps(body)}'")
    return Seen(said, command)


STEPS: Mapping[str, Step] = {
    "SetCvStatus: the a-kasse reports the CV ready for quality control": set_ready,
    "SetCvStatus: the a-kasse approves it; the CV is frozen as it is now": set_approved,
    "GetCV: with the token of the approval the status is there at once": get_cv,
    "GetCvStatus: by the jobcenter": get_status,
    "GetAvailableCVStatusVersions: what was frozen": get_versions,
    "SetCvStatus: for dagpenge the jobcenter is refused": refused,
}


async def _set(journey: Journey, status: int) -> Seen:
    organisation, body = journey.person.a_kasse, _body(journey, status)
    answer = await journey.call("POST", PATH, organisation, headers={}, body=body)
    receipt = expect(answer, 200)["ServiceReceipt"]
    journey.consistency = answer.headers["x-consistency-token"]
    command = journey.curl("POST", PATH, organisation, "cv.status", {}, data=f"'{json.dumps(body)}'")
    return Seen(f"receipt {receipt['MessageIdentifier']}", command)


def _body(journey: Journey, status: int) -> dict[str, dict[str, object]]:
    person = journey.person
    wanted: dict[str, object] = {
        "PersonCivilRegistrationIdentifier": person.person_number,
        "CvCustomerIdentifier": person.cv_number,
        "CvStatusIdentifier": status,
    }
    return {"CvStatusSet": wanted}
