"""Right and wrong calls of every method, with personal data where it belongs and where it does not."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
from tests.e2e.caller import JOBCENTER, STRANGER, Caller, cv_saying
from tests.e2e.soap import METHOD, blocks, post

from cv_gateway.soap.mapping import CITIZEN
from cv_gateway.soap.testing import call_envelope
from cvhub.synthetic import SyntheticCitizen

USER, USER_NAME = "medarbejder-qz7", "Hjørdis Vandrefalk"
WRITTEN = "Jeg har fisket ved Skagen"
MAIL, PHONE = "hjoerdis.vandrefalk@example.org", "20304051"
OWN_MAIL, OWN_PHONE = "hjoerdis.skagen@example.org", "26304052"
REQUEST_ID = "anmodning-0202029999"
IN_A_QUERY = "0303039999"
"""Another one, which a caller writes into a URL."""
EVERYBODY = {
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
}
WORST = "0202029999"
"""A person number that is in no register, in places where nobody expects one."""


def right(answer: httpx.Response) -> httpx.Response:
    """Demand that the call was answered."""
    assert answer.status_code == httpx.codes.OK, (*_asked(answer), answer.text)
    return answer


def wrong(answer: httpx.Response) -> None:
    """Demand that the call was refused as the caller's own fault."""
    assert answer.is_client_error, _asked(answer)


def _asked(answer: httpx.Response) -> tuple[str, str, int]:
    return answer.request.method, answer.request.url.path, answer.status_code


def _unlucky_bodies(one: SyntheticCitizen) -> Iterator[Any]:
    """Give bodies of ReplaceCV that are refused, with personal data where it does not belong."""
    cv = cv_saying(f"<p>{WRITTEN}</p>", one)
    yield json.dumps(cv).encode()[:-20]
    yield b"\xff\xfe" + one.name.encode()
    yield {**cv, one.person_number: one.name}
    yield {**cv, "CV": {**cv["CV"], one.name: WRITTEN}}
    yield {**cv, "JobConditions": {"FullTimeEmployment": one.person_number}}
    yield {**cv, "JobTargetCollection": [{"OccupationTaxonomyReference": WRITTEN}]}
    yield {**cv, "CV": {**cv["CV"], "DriverLicenseCollection": [{"Code": one.cv_number}]}}
    yield {**cv, "CV": {**cv["CV"], "LanguageSkillCollection": [{"Code": one.name, "Level": MAIL}]}}
    yield {**cv, "ContactInformation": {"E-mail": WRITTEN, "PhoneNumber": [one.name]}}
    yield [one.person_number, WRITTEN]
    yield one.name
    yield cv_saying(WRITTEN * 100_000, one)


async def right_and_wrong_calls(caller: Caller, one: SyntheticCitizen) -> None:
    person = one.person_number
    baggage = {
        "baggage": f"cpr={WORST}",
        "tracestate": f"a={WORST}",
        "user_agent": f"{USER_NAME} {WORST}".encode("ascii", "ignore").decode(),
    }
    written = right(
        await caller.replace_cv(
            person, cv_saying(f"<p>{WRITTEN}</p>", one), x_requestid=REQUEST_ID, **baggage
        )
    )
    token = written.headers.get("x-consistency-token")
    center = caller.acting(JOBCENTER)
    for headers in ({}, {"x_consistency_token": token}, {"if_none_match": WORST}):
        right(await caller.get_cv(person, **headers))
    wrong(await caller.get_cv(person, x_consistency_token=WORST))
    for body in _unlucky_bodies(one):
        wrong(await caller.replace_cv(person, body))
        wrong(await caller.asylum("POST", person, body))
        wrong(await center.asylum("PUT", person, body))
        wrong(await caller.call("POST", "/v6/Cv/bynumber", None, body))
        wrong(await caller.call("POST", "/v1/kontaktinformation", person, body))
    contact = {"ContactInformation": {"E-mail": MAIL, "PhoneNumber": [f"+45{PHONE}"]}}
    right(await caller.replace_cv(person, {**cv_saying(f"<p>{WRITTEN}</p>", one), **contact}))
    right(await caller.by_number(one.cv_number))
    wrong(await caller.by_number(one.cv_number, consent=False))
    wrong(await caller.acting(STRANGER).get_cv(person))
    wrong(await caller.acting("1:53").get_cv(person))
    wrong(await caller.acting("24:87654321").get_cv(person))
    for other in (f"{person[:6]}-{person[6:]}", person + "1", one.cv_number, f"{person}, {WORST}", WORST):
        wrong(await caller.get_cv(other))
        wrong(await caller.replace_cv(other, cv_saying(f"<p>{WRITTEN}</p>", one)))
    wrong(await caller.replace_cv(person, cv_saying("<p>x</p>", one), if_match=WORST))
    wrong(await caller.replace_cv(person, cv_saying("<p>x</p>", one), x_requestid=REQUEST_ID))
    right(await caller.get_cv(person, x_deadline_ms=person))
    for name in ("authorization", "x_activeorganisation_code", "x_requestuser_type"):
        wrong(
            await caller.get_cv(person, **{name: f"Bearer {person}" if name == "authorization" else person})
        )
    wrong(await caller.call("GET", f"/v6/Cv/{person}"))
    wrong(await caller.call(f"X{person}", "/v6/Cv", person))


async def contact_calls(caller: Caller, one: SyntheticCitizen) -> None:
    """Save, verify and look up contact data, rightly and wrongly; codes go out by mail and SMS."""
    person, path = one.person_number, "/v1/kontaktinformation"
    for mail, phone, judged in (
        (OWN_MAIL, f"+45{OWN_PHONE}", right),
        (one.name, WORST, wrong),
        (one.cv_number, WRITTEN, wrong),
    ):
        items = [
            {"PersonContactData": value, "PersonContactDataTypeIdentifier": kind}
            for value, kind in ((mail, 3), (phone, 1))
        ]
        judged(await caller.call("POST", path, person, {"PersonContactDataCollection": items}))
        judged(await caller.call("POST", f"{path}/emailadresse", None, {"email": mail}))
        judged(await caller.call("POST", f"{path}/mobiltelefon", None, {"mobiltelefon": phone}))
    right(await caller.call("POST", f"{path}/emailadresse", None, {"email": OWN_MAIL + "\x00"}))
    for kind, code in ((1, "000000"), (3, OWN_MAIL), (7, WORST)):
        body = {
            "CvCustomerIdentifier": one.cv_number,
            "VerificationCode": code,
            "PersonContactDataTypeIdentifier": kind,
        }
        wrong(await caller.call("POST", f"{path}/verificering", None, body))
        wrong(await caller.call("POST", f"{path}/verificering/ny", None, body))
    for status, judged in ((3, right), (OWN_MAIL, wrong)):
        state = {"PersonContactDataTypeIdentifier": 3, "PersonContactDataStatusTypeIdentifier": status}
        judged(await caller.call("POST", f"{path}/status", person, state))


async def status_and_feed_calls(caller: Caller, one: SyntheticCitizen) -> None:
    """Set and read the status with a comment that nobody may repeat; follow the changes."""
    person = one.person_number
    for status, comment, judged in (
        (3, WRITTEN, wrong),
        (2, one.name, right),
        (99, WRITTEN, wrong),
        (one.name, WORST, wrong),
    ):
        body = {
            "PersonCivilRegistrationIdentifier": person,
            "CvCustomerIdentifier": one.cv_number,
            "CvStatusIdentifier": status,
            "CvComment": comment,
        }
        judged(await caller.call("POST", "/v6/Cv/cvstatus", None, {"CvStatusSet": body}))
    for path in ("/v6/Cv/cvstatus", "/v6/Cv/versions", "/v6/Cv/pdf"):
        right(await caller.call("GET", path, person))
    wrong(await caller.call("GET", "/v6/Cv/versions/onstatus", person))
    frozen = "/v6/Cv/versions/onstatus?CVStatusIdentifier=2"
    right(await caller.call("GET", frozen, person, accept="application/pdf"))
    for query in (
        "CVStatusIdentifier=3",
        f"CVStatusIdentifier={IN_A_QUERY}",
        f"CVVersionIdentifier={IN_A_QUERY}",
    ):
        wrong(await caller.call("GET", f"/v6/Cv/versions/onstatus?{query}", person, accept="application/pdf"))
    letter = "/v6/JobnetAccount/letter"
    right(await caller.call("POST", letter, person, x_requestid=REQUEST_ID))
    wrong(await caller.call("POST", letter, person, {"x": one.name}, x_requestid=REQUEST_ID))
    right(await caller.call("GET", "/v1/feed/cv"))
    for position in (f"lastEventId={IN_A_QUERY}", "timeout=x"):
        wrong(await caller.call("GET", f"/v1/feed/cv?{position}"))
    right(await caller.call("GET", "/v6/Cv/changes?CVChangeStartTime=2026-01-01T00:00:00Z"))


async def search_calls(caller: Caller, one: SyntheticCitizen) -> None:
    """Search for what is personal, rightly and wrongly."""
    saved = right(await caller.replace_cv(one.person_number, cv_saying(f"<p>{WRITTEN}</p>", one)))
    seen = saved.headers["x-consistency-token"]

    async def search(**elements: Any) -> httpx.Response:
        body = {"searchInput": {**EVERYBODY, **elements}}
        return await caller.call("POST", "/v6/Cv/search", None, body, x_consistency_token=seen)

    for text in (WRITTEN, one.name, one.person_number, WORST, f'"{WRITTEN}'):
        for more in ({}, {"SearchStringSecondary": text}, {"Cities": [text]}):
            right(await search(SearchString=text, **more))
        wrong(await search(SearchString=text, CloseToCity=text))
    wrong(await search(SearchString=WRITTEN * 100))
    for elements in ({"Id": one.person_number}, {"PageNumber": one.name}, {one.name: WRITTEN}):
        wrong(await search(**elements))


async def soap_calls(caller: Caller, one: SyntheticCitizen) -> None:
    """The same as SOAP: what is personal stands in the envelope, in its right place and in others."""
    person, written = one.person_number, cv_saying(f"<p>{WRITTEN}</p>", one)
    right(await post(caller, "ReplaceCV", {CITIZEN: person, **written}, RequestIdHeader=REQUEST_ID))
    right(await post(caller, "GetCV", {CITIZEN: person}))
    right(await post(caller, "GetCVByCVNumber", {"CVNumber": one.cv_number, "CitizenConsentObtained": True}))
    search = {**EVERYBODY, "SearchString": WRITTEN}
    right(await post(caller, "SearchCVText", {"searchInput": search}))
    for other in (WORST, f"{person}{one.name}", one.name):
        _faulty(await post(caller, "GetCV", {CITIZEN: other}))
    _faulty(await post(caller.acting(STRANGER), "GetCV", {CITIZEN: person}))
    page = call_envelope(METHOD["SearchCVText"], {"searchInput": search}, blocks(caller.organisation))
    for said in (
        page.replace(b"<PageNumber>1<", f"<PageNumber>{one.name}<".encode()),
        page.replace(b"<PageNumber>1<", f"<X{person}>{WRITTEN}</X{person}><PageNumber>1<".encode()),
        f"<{person}".encode(),
        f"<a>{one.name}".encode(),
        f"<!DOCTYPE a [<!ENTITY b '{WRITTEN}'>]><a>&b;</a>".encode(),
    ):
        _faulty(await caller.call("POST", "/soap/v6", None, said, content_type="text/xml"))


def _faulty(answer: httpx.Response) -> None:
    """Demand a fault of the caller's: SOAP gives each the same status."""
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR, (*_asked(answer), answer.text)
    assert b"faultcode>soap:Client<" in answer.content, answer.text
