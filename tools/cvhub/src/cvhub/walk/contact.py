"""The walk's steps about contact data: an address is saved, the code comes by mail, is used, and cannot be used again."""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from cvhub.sinks.reading import sent
from cvhub.walk.journey import JOBNET, PATIENCE, Journey, NotAsItShould, Seen, Step, expect, fault

PATH = "/v1/kontaktinformation"
MAIL = 3
NOT_WAITING = 9242
SCOPES = "contact.write", "contact.verify"


async def save(journey: Journey) -> Seen:
    """Save an address that no earlier walk has used, so that there is something to verify."""
    journey.address = f"borger.{time.time_ns() // 1_000_000}@example.com"
    headers = {"x-civilregistrationidentifier": journey.person.person_number}
    item = {"PersonContactData": journey.address, "PersonContactDataTypeIdentifier": MAIL}
    body = {"PersonContactDataCollection": [item]}
    answer = await journey.call("POST", PATH, JOBNET, headers=headers, body=body)
    receipt = expect(answer, 200)["ServiceReceipt"]
    journey.consistency = answer.headers["x-consistency-token"]
    command = journey.curl("POST", PATH, JOBNET, SCOPES[0], headers, data=f"'{json.dumps(body)}'")
    return Seen(f"receipt {receipt['MessageIdentifier']}", command)


async def see_in_cv(journey: Journey) -> Seen:
    headers = {
        "x-civilregistrationidentifier": journey.person.person_number,
        "x-consistency-token": journey.consistency,
    }
    organisation = journey.person.jobcenter
    body = expect(await journey.call("GET", "/v6/Cv", organisation, headers=headers), 200)
    contact = body["CVProfile"]["PersonalData"]["ContactInformation"]
    if contact.get("E-mail") != journey.address:
        raise NotAsItShould("GetCV answers another address than the one just saved")
    return Seen("the address just saved", journey.curl("GET", "/v6/Cv", organisation, "cv.read", headers))


async def read_mail(journey: Journey) -> Seen:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for mail in await asyncio.to_thread(sent, journey.run, "mail"):
            if mail["to"] == journey.address and (code := re.search(r"\b[0-9]{6}\b", mail["text"])):
                journey.code = code[0]
                return Seen(f"{mail['subject']}: {journey.code}", "cvhub messages mail")
        await asyncio.sleep(0.1)
    raise NotAsItShould(f"no mail with a code came within {PATIENCE:.0f} s")


async def verify(journey: Journey) -> Seen:
    answer, command = await _verify(journey)
    receipt = expect(answer, 200)["ServiceReceipt"]
    return Seen(f"verified, receipt {receipt['MessageIdentifier']}", command)


async def verify_again(journey: Journey) -> Seen:
    answer, command = await _verify(journey)
    return Seen(fault(answer, 404, NOT_WAITING), command)


async def _verify(journey: Journey) -> tuple[Any, str]:
    body = {
        "CvCustomerIdentifier": journey.person.cv_number,
        "VerificationCode": journey.code,
        "PersonContactDataTypeIdentifier": MAIL,
    }
    path = f"{PATH}/verificering"
    answer = await journey.call("POST", path, JOBNET, headers={}, body=body)
    return answer, journey.curl("POST", path, JOBNET, SCOPES[1], {}, data=f"'{json.dumps(body)}'")


STEPS: Mapping[str, Step] = {
    "SavePersonContactData: Jobnet saves the citizen's mail address": save,
    "GetCV: the jobcenter sees the address at once": see_in_cv,
    "The mail that came: a code of six digits": read_mail,
    "VerifyPersonContactData: the code is used": verify,
    "VerifyPersonContactData: the second use is refused": verify_again,
}
