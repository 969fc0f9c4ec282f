"""Contact data through the gateway: saved, verified by the code that was sent, shown and found again."""

import re
from datetime import timedelta
from typing import Any

import httpx
from tests.e2e.caller import Caller
from tests.e2e.system import System

from cvhub.synthetic import SyntheticCitizen
from servicekit.testing import eventually

PATH = "/v1/kontaktinformation"
MOBILE, LANDLINE, MAIL = 1, 2, 3
PATIENCE = timedelta(seconds=60)


async def save(caller: Caller, one: SyntheticCitizen, data: dict[int, str | None]) -> httpx.Response:
    items = [{"PersonContactData": v, "PersonContactDataTypeIdentifier": n} for n, v in data.items()]
    return await caller.call("POST", PATH, one.person_number, {"PersonContactDataCollection": items})


async def verify(caller: Caller, one: SyntheticCitizen, kind: int, code: str) -> httpx.Response:
    body = {
        "CvCustomerIdentifier": one.cv_number,
        "VerificationCode": code,
        "PersonContactDataTypeIdentifier": kind,
    }
    return await caller.call("POST", f"{PATH}/verificering", None, body)


async def found(caller: Caller, mail: str) -> list[str]:
    answer = await caller.call("POST", f"{PATH}/emailadresse", None, {"email": mail})
    assert answer.status_code == 200, answer.text
    return [
        one["civilregistrationIdentifier"]
        for one in answer.json()["CprCollection"]
        if "RegistrationEndDate" not in one
    ]


async def shown(caller: Caller, one: SyntheticCitizen, token: str | None = None) -> Any:
    """Give what GetCV shows; a 503 that asks for another try is no answer yet."""

    async def answered() -> httpx.Response:
        answer = await caller.get_cv(one.person_number, x_consistency_token=token)
        assert answer.status_code != 503, answer.text
        return answer

    answer = await eventually(answered, PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()["CVProfile"]["PersonalData"]["ContactInformation"]


async def code_sent(system: System, http: httpx.AsyncClient, to: str) -> str:
    async def look() -> str:
        sent = (await http.get(system.url("sinks") + "/sent")).json()
        [text] = [message["text"] for message in sent if message["to"] == to]
        match = re.search(r"\b[0-9]{6}\b", text)
        assert match is not None
        return match[0]

    return await eventually(look, PATIENCE)
