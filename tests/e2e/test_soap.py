"""CVService as SOAP on the running system: a real client calls every method, and what it reads is what REST answers."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import requests
import zeep
from lxml import etree
from tests.e2e.caller import JOBCENTER, JOBNET, Caller, Json, fault, population, small_cv
from tests.e2e.cases import case, meant, newcomer
from tests.e2e.soap import METHOD, answered, blocks, post
from tests.e2e.system import ALL_SCOPES, System
from tests.e2e.test_main_job import ASYLUM, ASYLUM_FAULTS, READ_FAULTS, REPLACE_FAULTS

from cv_gateway.messages import messages_of
from cv_gateway.soap.mapping import CITIZEN
from cv_gateway.soap.tables import NAMESPACE

SAMPLE = 40
PDF = b"%PDF-"


def refused(answer: httpx.Response) -> int:
    assert answer.status_code == 500, answer.text
    return int(etree.fromstring(answer.content).findtext(f".//{{{NAMESPACE}}}ErrorCode"))


class Client:
    """zeep, made from the WSDL that the running gateway shows. Its calls block."""

    def __init__(self, system: System) -> None:
        session = requests.Session()
        session.trust_env = False
        self._session, self._system = session, system
        transport = zeep.Transport(session=session, timeout=30, operation_timeout=30)  # type: ignore[no-untyped-call]
        self._zeep: Any = zeep.Client(f"{system.url('gateway')}/soap/v6?wsdl", transport=transport)  # type: ignore[no-untyped-call]

    def call(self, name: str, *arguments: Any, acting: str = JOBNET, **more: Any) -> Any:
        self._session.headers["authorization"] = f"Bearer {self._system.token(acting, ALL_SCOPES)}"
        headers = {name: more.pop(name) for name in list(more) if name.endswith("Header")}
        return self._zeep.service[name](*arguments, **more, _soapheaders=blocks(acting, **headers))


def _of_zeep(body: Json) -> Json:
    """Give a CV as a caller of zeep writes it."""
    empty: Json = {name: {} for name in body["CV"] if name.endswith("Collection")}
    return {**body, "JobTargetCollection": {}, "CV": {**body["CV"], **empty}}


def _whole_story(system: System, refugee: str) -> None:
    """Call each of the thirteen methods once, as Jobnet and as a jobcenter."""
    client, one = Client(system), case("contact-group-2")
    text, request = f"Skrevet {uuid4().hex}", uuid4().hex
    person, number, begun = one.person_number, one.cv_number, datetime.now(UTC) - timedelta(minutes=5)
    receipt = client.call(
        "ReplaceCV", person, **_of_zeep(small_cv(f"<p>{text}</p>")), RequestIdHeader=request
    )
    again = client.call("ReplaceCV", person, **_of_zeep(small_cv(f"<p>{text}</p>")), RequestIdHeader=request)
    assert receipt.MessageIdentifier == again.MessageIdentifier
    assert text in client.call("GetCV", person).CVProfile.CV.ProfessionalSummaryText.HTMLText
    assert text in client.call("GetCVByCVNumber", number, True).CV.ProfessionalSummaryText.HTMLText
    status = {
        CITIZEN: person,
        "CvCustomerIdentifier": number,
        "CvStatusIdentifier": 2,
        "CvComment": "Æ & <ø>",
    }
    assert client.call("SetCvStatus", status).MessageIdentifier
    seen = client.call("GetCvStatus", person, number)
    assert (seen.CvStatusIdentifier, seen.CvComment, seen.CVAvailability) == (2, "Æ & <ø>", "Active")
    version = client.call("GetAvailableCVStatusVersions", person, 2)[0]
    frozen = client.call("GetCVOnStatus", person, CVVersionIdentifier=version.CVVersionIdentifier)
    assert frozen.CompleteCVAsPdfResult.startswith(PDF)
    assert frozen.CVVersionTime == version.CVVersionTime
    assert client.call("GetCVAsPdf", person).GetCVAsPdfResult.startswith(PDF)
    assert client.call("CreateJobnetAccountLetter", person).MessageIdentifier
    listed = client.call("GetCVUpdateList", begun)
    assert number in [item.CVNumber for item in listed.CVUpdateList.CVUpdateItem]
    search = {
        "Id": "00000000-0000-0000-0000-000000000000",
        "GroupLimit": 5,
        "ShowOnlyEnrolled": False,
        "PageNumber": 1,
        "ResultsPerPage": 5,
        "OrganisationCode": 0,
        "OrganisationTypeIdentifier": 0,
        "IsDateIntervalSpecified": False,
        "UpdatedBefore": begun,
        "UpdatedLaterThan": begun,
    }
    found = client.call("SearchCVText", search)
    assert len(found.CVPersons.CVPerson) == min(5, found.TotalResults)
    dates = [date.fromisoformat(ASYLUM[name]) for name in ("CVEditEndDate", "AsylumCVTransitionDate")]
    assert client.call("CreateAsylumCVTransition", refugee, *dates, acting=JOBCENTER).MessageIdentifier
    assert client.call("UpdateAsylumCVTransition", refugee, *dates, "x", acting=JOBCENTER).MessageIdentifier
    with pytest.raises(zeep.exceptions.Fault) as caught:
        client.call("GetCV", "0000000000", acting=JOBCENTER)
    assert caught.value.message == "Unknown cpr"


async def test_zeep_calls_all_thirteen_methods(system: System, http: httpx.AsyncClient) -> None:
    refugee = await newcomer(system, http, "contact-group-27")
    await asyncio.to_thread(_whole_story, system, refugee.person_number)


def same(name: str, by_soap: httpx.Response, by_rest: httpx.Response) -> bool:
    """Compare two answers as the messages they are; an element that repeats and is not there is an empty one."""
    message = messages_of(METHOD[name]).answer
    assert by_rest.status_code == 200, by_rest.text
    return message.from_json(json.dumps(answered(by_soap))) == message.from_json(by_rest.content)


async def test_what_soap_answers_is_what_rest_answers_field_by_field(caller: Caller) -> None:
    for one in population(200)[:SAMPLE]:
        person, number = one.person_number, one.cv_number
        assert same("GetCV", await post(caller, "GetCV", {CITIZEN: person}), await caller.get_cv(person))
        consent = {"CVNumber": number, "CitizenConsentObtained": True}
        by_soap = await post(caller, "GetCVByCVNumber", consent)
        assert same("GetCVByCVNumber", by_soap, await caller.by_number(number))
        for name in ("GetCvStatus", "GetAvailableCVStatusVersions"):
            by_rest = await caller.call("GET", METHOD[name].path, person)
            assert same(name, await post(caller, name, {CITIZEN: person}), by_rest)


async def test_faults_by_soap_are_those_of_rest(caller: Caller) -> None:
    for organisation, person, _, code in READ_FAULTS:
        read_answer = await post(caller.acting(organisation), "GetCV", {CITIZEN: meant(person)})
        assert refused(read_answer) == code, person
    for organisation, person, body, (_, code) in REPLACE_FAULTS:
        if body:
            asked: Json = {CITIZEN: meant(person), **body, "ContactInformation": {"PhoneNumber": []}}
            asked["ContactInformation"] |= body["ContactInformation"]
            assert refused(await post(caller.acting(organisation), "ReplaceCV", asked)) == code, (
                person,
                code,
            )
    for verb, organisation, person, body, (_, code) in ASYLUM_FAULTS:
        if body:
            name = "CreateAsylumCVTransition" if verb == "POST" else "UpdateAsylumCVTransition"
            asked = {CITIZEN: meant(person), **body}
            assert refused(await post(caller.acting(organisation), name, asked)) == code, (person, code)


async def test_an_element_at_fault_has_one_name_by_soap_and_by_rest(caller: Caller) -> None:
    one = case("plain")
    body = small_cv("<p>x</p>")
    body["CV"]["LanguageSkillCollection"] = [{"Code": "??", "Level": "Expert"}]
    by_rest = await caller.replace_cv(one.person_number, body)
    assert fault(by_rest) == (400, 1014)
    body["ContactInformation"] = {"PhoneNumber": []}
    by_soap = await post(caller, "ReplaceCV", {CITIZEN: one.person_number, **body})
    assert refused(by_soap) == 1014
    elements = [found.text for found in etree.fromstring(by_soap.content).iter(f"{{{NAMESPACE}}}Element")]
    assert elements == [error["element"] for error in by_rest.json()["errors"]]


async def test_a_write_by_soap_is_seen_with_its_token_by_rest(caller: Caller) -> None:
    one, text = population(200)[SAMPLE], uuid4().hex
    body = {**small_cv(f"<p>{text}</p>"), "ContactInformation": {"PhoneNumber": []}}
    written = await post(caller, "ReplaceCV", {CITIZEN: one.person_number, **body})
    token = etree.fromstring(written.content).findtext(f".//{{{NAMESPACE}}}ConsistencyTokenHeader")
    assert token == written.headers["x-consistency-token"]
    rest = await caller.get_cv(one.person_number, x_consistency_token=token)
    assert text in rest.text


async def test_what_soap_says_and_reads_is_in_no_log(system: System, caller: Caller) -> None:
    one, secret = population(200)[SAMPLE + 1], f"hemmelig{uuid4().hex}"
    body = {**small_cv(f"<p>{secret}</p>"), "ContactInformation": {"PhoneNumber": []}}
    assert (await post(caller, "ReplaceCV", {CITIZEN: one.person_number, **body})).status_code == 200
    assert refused(await post(caller, "GetCV", {CITIZEN: f"{one.person_number}{secret}"})) == 1014

    for log in system.logs:
        said = log.read_bytes()
        assert secret.encode() not in said
        assert one.person_number.encode() not in said
