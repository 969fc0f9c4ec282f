"""The walk's steps about the CV: replaced, known on Kafka, read back, and refused to whom it does not concern."""

import asyncio
import json
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer

from cv_contracts.envelope import Event, read
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from cvhub.idp.__main__ import client_secret
from cvhub.idp.client import fetch_token
from cvhub.walk.journey import CLIENT, JOBNET, PATIENCE, Journey, NotAsItShould, Seen, Step, expect, fault

OWN_JOBCENTER, NO_CONSENT = 4575, 9192


async def get_tokens(journey: Journey) -> Seen:
    secret = client_secret(journey.state.idp)
    issuer = journey.run.url("idp")
    for organisation, scopes in (
        (JOBNET, ["contact.verify", "contact.write", "cv.write"]),
        (journey.person.jobcenter, ["cv.changes", "cv.read", "cv.search", "cv.status"]),
        (journey.person.a_kasse, ["cv.status"]),
        (journey.stranger, ["cv.read"]),
    ):
        journey.tokens[organisation] = await asyncio.to_thread(
            fetch_token, issuer, secret, organisations=[organisation], scopes=scopes, client=CLIENT
        )
    return Seen(
        f"{len(journey.tokens)} tokens, signed ES256", f"cvhub token --organisation {JOBNET} --scope cv.write"
    )


async def replace_cv(journey: Journey) -> Seen:
    body = {**journey.person.cv}
    body["CV"] = {**body["CV"], "ProfessionalSummaryText": {"HTMLText": journey.summary}}
    file = journey.state.folder / "walk-replace-cv.json"
    file.write_text(json.dumps(body, ensure_ascii=False, indent=1))
    headers = {"x-civilregistrationidentifier": journey.person.person_number}
    answer = await journey.call("PUT", "/v6/Cv", JOBNET, headers=headers, body=body)
    receipt = expect(answer, 200)["ServiceReceipt"]
    journey.message_id = receipt["MessageIdentifier"]
    journey.consistency = answer.headers["x-consistency-token"]
    command = journey.curl("PUT", "/v6/Cv", JOBNET, "cv.write", headers, data=f"@{file}")
    return Seen(f"receipt {journey.message_id}", command)


async def see_event(journey: Journey) -> Seen:
    event = await asyncio.wait_for(_event(journey.events, journey.message_id), PATIENCE)
    if not isinstance(event, CVChanged):
        raise NotAsItShould(f"the event is a {type(event).__name__}")
    topic = topic_of(CVChanged).name
    return Seen(f"{topic}: {event.change}, subject {event.subject}", f"cvhub follow {topic}")


async def get_cv(journey: Journey) -> Seen:
    headers = {
        "x-civilregistrationidentifier": journey.person.person_number,
        "x-consistency-token": journey.consistency,
    }
    organisation = journey.person.jobcenter
    body = expect(await journey.call("GET", "/v6/Cv", organisation, headers=headers), 200)
    summary = body["CVProfile"]["CV"]["ProfessionalSummaryText"]["HTMLText"]
    if summary != journey.summary:
        raise NotAsItShould("GetCV answers an older CV than the one just saved")
    return Seen("the text just saved", journey.curl("GET", "/v6/Cv", organisation, "cv.read", headers))


async def by_number_with_consent(journey: Journey) -> Seen:
    return await _by_number(journey, consent=True)


async def by_number_without_consent(journey: Journey) -> Seen:
    return await _by_number(journey, consent=False)


async def refused(journey: Journey) -> Seen:
    headers = {"x-civilregistrationidentifier": journey.person.person_number}
    answer = await journey.call("GET", "/v6/Cv", journey.stranger, headers=headers)
    said = fault(answer, 403, OWN_JOBCENTER)
    return Seen(said, journey.curl("GET", "/v6/Cv", journey.stranger, "cv.read", headers))


async def _by_number(journey: Journey, *, consent: bool) -> Seen:
    body = {"CVNumber": journey.person.cv_number, "CitizenConsentObtained": consent}
    organisation, path = journey.person.jobcenter, "/v6/Cv/bynumber"
    answer = await journey.call("POST", path, organisation, headers={}, body=body)
    command = journey.curl("POST", path, organisation, "cv.read", {}, data=f"'{json.dumps(body)}'")
    if consent:
        number = expect(answer, 200)["CVProfile"]["JobnetCVId"]
        return Seen(f"the CV with number {number}", command)
    return Seen(fault(answer, 400, NO_CONSENT), command)


async def _event(events: AIOKafkaConsumer, message_id: str) -> Event:
    async for record in events:
        event = read(record.headers, record.value)
        if str(event.id) == message_id:
            return event
    raise NotAsItShould("the event log ended")


STEPS: Mapping[str, Step] = {
    "Tokens from the local identity provider": get_tokens,
    "ReplaceCV: Jobnet replaces the citizen's CV": replace_cv,
    "CVChanged: the change is on Kafka, under the id of the receipt": see_event,
    "GetCV: the citizen's jobcenter reads it, with the consistency token": get_cv,
    "GetCVByCVNumber: by anyone, with the citizen's consent": by_number_with_consent,
    "GetCVByCVNumber: without consent it is refused": by_number_without_consent,
    "GetCV: another jobcenter is refused": refused,
}
