"""The walk's last steps: the CV and the version just approved as documents, and the letter with a new login, to be opened."""

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path

import httpx

from cvhub.idp.__main__ import client_secret
from cvhub.idp.client import fetch_token
from cvhub.services import SINKS
from cvhub.sinks.reading import letters
from cvhub.walk.journey import CLIENT, Journey, NotAsItShould, Seen, Step, expect

FOLDER = "documents"
APPROVED = 3
SCOPES = ["cv.account", "cv.read"]


async def current_cv(journey: Journey) -> Seen:
    organisation = journey.person.jobcenter
    journey.tokens[organisation] = await asyncio.to_thread(
        fetch_token,
        journey.run.url("idp"),
        client_secret(journey.state.idp),
        organisations=[organisation],
        scopes=SCOPES,
        client=CLIENT,
    )
    headers = {**_citizen(journey), "accept": "application/pdf"}
    answer = await journey.call("GET", "/v6/Cv/pdf", organisation, headers=headers)
    if answer.status_code != httpx.codes.OK:
        raise NotAsItShould(f"{answer.status_code} instead of 200: {answer.text[:500]}")
    file = _write(journey, "current-cv.pdf", answer.content)
    command = journey.curl("GET", "/v6/Cv/pdf", organisation, "cv.read", headers) + " -o current-cv.pdf"
    return Seen(f"{file}", command)


async def approved_version(journey: Journey) -> Seen:
    organisation, path = journey.person.jobcenter, f"/v6/Cv/versions/onstatus?CVStatusIdentifier={APPROVED}"
    answer = await journey.call("GET", path, organisation, headers=_citizen(journey))
    item = expect(answer, 200)["CVOnStatusItem"]
    file = _write(journey, "approved-version.pdf", base64.b64decode(item["CompleteCVAsPdfResult"]))
    return Seen(f"{file}", journey.curl("GET", path, organisation, "cv.read", _citizen(journey)))


async def account_letter(journey: Journey) -> Seen:
    """Order the letter as the jobcenter, and fetch what the print service got."""
    organisation, path = journey.person.jobcenter, "/v6/JobnetAccount/letter"
    before = {letter["id"] for letter in await asyncio.to_thread(letters, journey.run)}
    expect(await journey.call("POST", path, organisation, headers=_citizen(journey)), 200)
    new = [one["id"] for one in await asyncio.to_thread(letters, journey.run) if one["id"] not in before]
    if len(new) != 1:
        raise NotAsItShould(f"the print service took {len(new)} letters instead of 1")
    printed = await journey.client.get(f"{journey.run.url(SINKS)}/letters/{new[0]}")
    file = _write(journey, "account-letter.pdf", printed.content)
    return Seen(
        f"{file}\n     These three files are yours to open. They hold synthetic persons only.",
        journey.curl("POST", path, organisation, "cv.account", _citizen(journey)),
    )


STEPS: Mapping[str, Step] = {
    "GetCVAsPdf: the CV as it is now, as an employer may see it": current_cv,
    "GetCVOnStatus: the version that the a-kasse approved": approved_version,
    "CreateJobnetAccountLetter: a new login, printed": account_letter,
}


def _citizen(journey: Journey) -> dict[str, str]:
    return {"x-civilregistrationidentifier": journey.person.person_number}


def _write(journey: Journey, name: str, pdf: bytes) -> Path:
    if not pdf.startswith(b"%PDF"):
        raise NotAsItShould(f"{name} would be no PDF")
    folder = journey.state.folder / FOLDER
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_bytes(pdf)
    return file
