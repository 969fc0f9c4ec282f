"""A real SOAP client (zeep) calls all thirteen methods; owners get what REST would send them and answers come back whole."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import requests
import zeep
import zeep.helpers
from lxml import etree

from cv_contracts.faults import FAULTS
from cv_contracts.methods import METHODS, Method
from cv_gateway.messages import messages_of
from cv_gateway.soap.faults import ENVELOPE
from cv_gateway.soap.mapping import CITIZEN, CV_NUMBER
from cv_gateway.soap.tables import NAMESPACE, Element, messages
from cv_gateway.soap.testing import PERSON, SOAP_METHODS, Generator, call_envelope, caller_blocks
from cv_gateway.testing import Provider
from servicekit.web.upstream_testing import ScriptedOwner, hang, plain, raw

pytestmark = pytest.mark.slow

JOBNET = {"organisation": {"type": 101, "code": "1"}, "may_act_as": []}
OWNERS = {method.owner for method in SOAP_METHODS}
BY_NAME = {method.name: method for method in METHODS}
GET_CV, REPLACE_CV = BY_NAME["GetCV"], BY_NAME["ReplaceCV"]
BLOCKS = caller_blocks(101, "1")

Start = Any
Call = Callable[..., Any]


@pytest.fixture
async def gateway(start: Start, registry: ScriptedOwner) -> AsyncIterator[httpx.AsyncClient]:
    async with start(owners=dict.fromkeys(OWNERS, registry.url)) as (_, client):
        yield client


@pytest.fixture
async def zeep_call(gateway: httpx.AsyncClient, provider: Provider) -> Call:
    """Give a call by zeep, made from the WSDL that the gateway shows; it blocks, so it has a thread."""
    session = requests.Session()
    session.trust_env = False
    session.headers["authorization"] = f"Bearer {provider.token(**JOBNET)}"
    transport = zeep.Transport(session=session, timeout=10, operation_timeout=10)  # type: ignore[no-untyped-call]
    client = await asyncio.to_thread(zeep.Client, f"{gateway.base_url}/soap/v6?wsdl", transport=transport)

    async def call(method: Method, message: dict[str, Any], **headers: Any) -> Any:
        blocks = {**BLOCKS, **headers}
        arguments = _for_zeep(messages()[method.name], message)
        operation = client.service[method.name]
        return await asyncio.to_thread(operation, **arguments, _soapheaders=blocks)

    return call


def _for_zeep(element: Element, value: Any) -> Any:
    """Give a message as a caller of zeep writes it: a collection is an object around its repeated element."""
    if element.item is not None:
        items = [_for_zeep(element.item, one) for one in value]
        return {element.item.name: items if element.item.repeats else next(iter(items), None)}
    if element.children:
        children = {child.name: child for child in element.children}
        return {
            name: [_for_zeep(children[name], one) for one in given]
            if children[name].repeats
            else _for_zeep(children[name], given)
            for name, given in value.items()
        }
    if element.kind == "gYear":
        return int(value), None
    return datetime.fromisoformat(value) if element.kind == "dateTime" else value


def _of_zeep(element: Element, value: Any) -> Any:
    """Read what zeep gives back as JSON again."""
    if element.item is not None:
        inner = value[element.item.name] if isinstance(value, dict) else value
        many = inner if isinstance(inner, list) else [] if inner is None else [inner]
        return [_of_zeep(element.item, one) for one in many]
    if element.children:
        found = {}
        for child in element.children:
            one = value[child.name]
            if child.repeats:
                found[child.name] = [_of_zeep(child, each) for each in one or []]
            elif one is not None:
                found[child.name] = _of_zeep(child, one)
        return found
    return "" if value is None else _LEAVES.get(element.kind or "", lambda one: one)(value)


def _seen(value: Any) -> Any:
    """Leave out what is empty: zeep does not tell an empty element from none."""
    if isinstance(value, dict):
        seen = {name: _seen(one) for name, one in value.items()}
        return {name: one for name, one in seen.items() if one not in ("", [], {})}
    return [_seen(one) for one in value] if isinstance(value, list) else value


def _time(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


_LEAVES: dict[str, Callable[[Any], Any]] = {
    "gYear": lambda value: f"{value[0]:04}",
    "gMonth": lambda value: f"--{value[0]:02}",
    "date": date.isoformat,
    "dateTime": _time,
    "decimal": float,
    "base64Binary": lambda value: base64.b64encode(value).decode(),
}


def _whole(element: Element, result: Any) -> Any:
    """Undo zeep's unwrapping of an answer with one element only."""
    value = zeep.helpers.serialize_object(result, dict)  # type: ignore[no-untyped-call]
    if len(element.children) == 1:
        (only,) = element.children
        value = {only.name: value}
    return _of_zeep(element, value)


@pytest.mark.parametrize("method", SOAP_METHODS, ids=lambda method: method.name)
async def test_zeep_calls_the_method_and_reads_the_owners_answer_field_by_field(
    zeep_call: Call, registry: ScriptedOwner, method: Method
) -> None:
    for seed in range(4):
        generator = Generator(seed)
        message, answer = generator.request(method), generator.answer(method)
        registry.answering = plain(json.dumps(answer).encode())
        result = await zeep_call(method, message)
        assert _seen(_whole(messages()[f"{method.name}Response"], result)) == _seen(answer)
        sent = registry.received[-1]
        verb, target, _ = sent.line.split()
        path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query))
        assert (verb, path) == (method.verb, method.path)
        assert PERSON not in target
        if method.citizen == "header":
            assert sent.header("x-civilregistrationidentifier") == message.pop(CITIZEN)
        if method.name == "GetCvStatus":
            assert sent.header("x-cvcustomeridentifier") == message.pop(CV_NUMBER, None)
        if method.verb == "GET":
            assert {name: str(value) for name, value in message.items()}.keys() == query.keys()
            model = messages_of(method).query
            assert model is None or model.from_query(list(query.items()))
        elif message:
            assert sent.header("content-type") == "application/json"
            assert _loosely(json.loads(sent.body)) == _loosely(message)


def _loosely(value: Any) -> Any:
    """Compare times as times, and line ends as XML carries them."""
    if isinstance(value, dict):
        return {name: _loosely(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_loosely(one) for one in value]
    if isinstance(value, str) and value[:11] == "2026-11-" + value[8:10] + "T":
        return datetime.fromisoformat(value)
    return value


def soap(provider: Provider, **claims: Any) -> dict[str, str]:
    return {
        "authorization": f"Bearer {provider.token(**{**JOBNET, **claims})}",
        "content-type": "text/xml; charset=utf-8",
    }


def fault(answer: httpx.Response) -> tuple[int, str, list[str]]:
    """Give the number, SOAP's word for the reason, and the elements at fault."""
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert answer.headers["x-trace-id"]
    found = etree.fromstring(answer.content).find(f"{{{ENVELOPE}}}Body/{{{ENVELOPE}}}Fault")
    detail = found.find(f"detail/{{{NAMESPACE}}}ServiceFault")
    assert detail.findtext(f"{{{NAMESPACE}}}Source") == "CVService"
    assert found.findtext("faultstring") == detail.findtext(f"{{{NAMESPACE}}}Message")
    assert detail.findtext(f"{{{NAMESPACE}}}TraceIdentifier") == answer.headers["x-trace-id"]
    code = int(detail.findtext(f"{{{NAMESPACE}}}ErrorCode"))
    elements = [one.text for one in detail.iter(f"{{{NAMESPACE}}}Element")]
    return code, found.findtext("faultcode").removeprefix("soap:"), elements


async def test_every_fault_of_every_method_reaches_zeep_with_its_number_and_text(
    zeep_call: Call, registry: ScriptedOwner
) -> None:
    for method in SOAP_METHODS:
        message = Generator(1).request(method)
        for code in sorted(method.faults - {1011, 1012}):
            text = FAULTS[code]
            problem: dict[str, Any] = {
                "status": text.status,
                "code": code,
                "title": text.title,
                "detail": "x",
            }
            if code == 1014:
                problem["errors"] = [{"element": "CV.EducationCollection[0].Title", "reason": "is long"}]
            body = json.dumps(problem).encode()
            registry.answering = plain(body, f"{text.status} Refused", "retry-after: 7")
            with pytest.raises(zeep.exceptions.Fault) as caught:
                await zeep_call(method, dict(message))
            detail = caught.value.detail.find(f"{{{NAMESPACE}}}ServiceFault")
            assert detail.findtext(f"{{{NAMESPACE}}}ErrorCode") == str(code)
            assert caught.value.message == text.title
            assert caught.value.code == ("soap:Server" if text.status >= 500 else "soap:Client")
            places = [one.text for one in detail.iter(f"{{{NAMESPACE}}}Element")]
            assert places == (["CV.EducationCollection[0].Title"] if code == 1014 else [])


CALLER_FAULTS: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    ("no active organisation", {"ActiveOrganisationHeader": None}, {}, 8232),
    ("neither header", {"ActiveOrganisationHeader": None, "RequestUserMetadataHeader": None}, {}, 8232),
    ("no user", {"RequestUserMetadataHeader": None}, {}, 8233),
    ("an unknown organisation type", caller_blocks(9, "1"), {}, 8173),
    ("another organisation", caller_blocks(8, "75100"), {}, 4575),
    ("no scope", {}, {"scope": "cv.search"}, 1013),
    ("a token of another audience", {}, {"aud": "other"}, 1012),
]


@pytest.mark.parametrize(
    ("blocks", "claims", "code"), [row[1:] for row in CALLER_FAULTS], ids=[r[0] for r in CALLER_FAULTS]
)
async def test_faults_of_the_token_and_the_headers_come_before_those_of_the_message(  # noqa: PLR0917 - a row of the table
    gateway: httpx.AsyncClient,
    provider: Provider,
    registry: ScriptedOwner,
    blocks: dict[str, Any],
    claims: dict[str, Any],
    code: int,
) -> None:
    given = {name: block for name, block in {**BLOCKS, **blocks}.items() if block is not None}
    sent = call_envelope(GET_CV, {CITIZEN: "not a number"}, given)
    answer = await gateway.post("/soap/v6", content=sent, headers=soap(provider, **claims))
    assert fault(answer) == (code, "Client", [])
    assert registry.received == []


def _with(block: str, other: str = "") -> bytes:
    """Give a call with one of its header blocks written by hand."""
    kept = {name: value for name, value in BLOCKS.items() if f"<{name}" not in block + other}
    sent = call_envelope(GET_CV, {CITIZEN: PERSON}, kept).decode()
    body = f"{block}{other}".replace("Header>", f'Header xmlns="{NAMESPACE}">', 1)
    return sent.replace("<soap:Header>", f"<soap:Header>{body}", 1).encode()


USER = "<UserFullName>A</UserFullName><RequestUserTypeIdentifier>2</RequestUserTypeIdentifier><UserIdentifier>b</UserIdentifier>"
UNREADABLE = {
    "<ActiveOrganisationHeader></ActiveOrganisationHeader>": 8234,
    "<ActiveOrganisationHeader><OrganisationTypeIdentifier>eight</OrganisationTypeIdentifier>"
    "<OrganisationCode>1</OrganisationCode></ActiveOrganisationHeader>": 8234,
    "<ActiveOrganisationHeader><OrganisationCode>1</OrganisationCode>"
    "<OrganisationTypeIdentifier>8</OrganisationTypeIdentifier></ActiveOrganisationHeader>": 8234,
    "<RequestUserMetadataHeader></RequestUserMetadataHeader>": 8235,
    f"<RequestUserMetadataHeader><RequestUserStructure>{USER.replace('>A<', '><')}</RequestUserStructure></RequestUserMetadataHeader>": 8235,
    f"<RequestUserMetadataHeader><RequestUserStructure>{USER.replace('>2<', '>99<')}</RequestUserStructure></RequestUserMetadataHeader>": 8174,
    f"<RequestUserMetadataHeader><RequestUserStructure>{USER}</RequestUserStructure><RequestOrganisationStructure>"
    "<OrganisationTypeIdentifier>8</OrganisationTypeIdentifier><OrganisationCode>10100</OrganisationCode>"
    "</RequestOrganisationStructure></RequestUserMetadataHeader>": 4575,
}


async def test_a_request_id_that_is_none_is_told_after_all_that_concerns_the_caller(
    gateway: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    wrong = {"RequestIdHeader": "x" * 47}
    for blocks, code, elements in (
        ({"ActiveOrganisationHeader": None}, 8232, []),
        (caller_blocks(8, "75100"), 4575, []),
        ({}, 1014, ["RequestIdHeader"]),
    ):
        given = {name: one for name, one in {**BLOCKS, **blocks, **wrong}.items() if one is not None}
        sent = call_envelope(REPLACE_CV, Generator(1).request(REPLACE_CV), given)
        answer = await gateway.post("/soap/v6", content=sent, headers=soap(provider))
        assert fault(answer) == (code, "Client", elements)
    assert registry.received == []


@pytest.mark.parametrize("block", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_header_blocks_that_cannot_be_read_are_faults_of_their_own(
    gateway: httpx.AsyncClient, provider: Provider, block: str
) -> None:
    answer = await gateway.post("/soap/v6", content=_with(block), headers=soap(provider))
    assert fault(answer) == (UNREADABLE[block], "Client", [])


async def test_without_a_token_nothing_of_the_envelope_is_read(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post("/soap/v6", content=b"<not xml", headers={"content-type": "text/xml"})
    assert fault(answer) == (1012, "Client", [])


async def test_a_write_takes_a_request_id_and_gives_its_token_back_as_headers_of_both_kinds(
    gateway: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    receipt = json.dumps(Generator(1).answer(REPLACE_CV)).encode()
    registry.answering = plain(
        receipt, "200 OK", "x-consistency-token: a<b", "x-idempotent-replay: true", 'etag: "7"'
    )
    blocks = {**BLOCKS, "RequestIdHeader": "request-1"}
    sent = call_envelope(REPLACE_CV, Generator(1).request(REPLACE_CV), blocks)
    answer = await gateway.post("/soap/v6", content=sent, headers={**soap(provider), "if-match": '"6"'})
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"7"'
    assert answer.headers["x-consistency-token"].startswith("a<b.")
    envelope = etree.fromstring(answer.content)
    token = envelope.findtext(f".//{{{NAMESPACE}}}ConsistencyTokenHeader")
    assert token == answer.headers["x-consistency-token"]
    assert envelope.findtext(f".//{{{NAMESPACE}}}IdempotentReplayHeader") == "true"
    (asked,) = registry.received
    assert asked.header("x-requestid") == "request-1"
    assert asked.header("if-match") == '"6"'


async def test_refusals_without_a_number_of_the_service_have_that_of_http(
    gateway: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    problem = {
        "type": "urn:cvhub:problem:precondition",
        "title": "Precondition failed",
        "status": 412,
        "detail": "x",
    }
    registry.answering = plain(json.dumps(problem | {"traceId": "0"}).encode(), "412 Precondition failed")
    sent = call_envelope(GET_CV, {CITIZEN: PERSON}, BLOCKS)
    answer = await gateway.post("/soap/v6", content=sent, headers=soap(provider))
    detail = etree.fromstring(answer.content).find(f".//{{{NAMESPACE}}}ServiceFault")
    assert detail.findtext(f"{{{NAMESPACE}}}ErrorCode") == "412"


async def test_owners_that_are_silent_or_speak_rubbish_are_the_methods_own_faults(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    sent = call_envelope(GET_CV, {CITIZEN: PERSON}, BLOCKS)
    search = call_envelope(BY_NAME["SearchCVText"], {}, BLOCKS)
    limits = {"deadlines": {"GetCV": timedelta(milliseconds=200)}}
    async with start(owners=dict.fromkeys(OWNERS, registry.url), limits=limits) as (_, client):
        registry.answering = hang
        answer = await client.post("/soap/v6", content=sent, headers=soap(provider))
        assert fault(answer) == (4430, "Server", [])
        assert int(answer.headers["retry-after"]) > 0
        for answering in (
            raw(b"rubbish\r\n\r\n"),
            plain(b'{"Municipality": 1}'),
            plain(b"{"),
            plain(b"[]", "404 x"),
        ):
            registry.answering = answering
            assert fault(await client.post("/soap/v6", content=sent, headers=soap(provider)))[0] == 1011
            assert fault(await client.post("/soap/v6", content=search, headers=soap(provider)))[0] == 1002


async def test_the_quota_of_calls_by_number_is_one_for_soap_and_rest(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    method = BY_NAME["GetCVByCVNumber"]
    registry.answering = plain(json.dumps(Generator(3).answer(method)).encode())
    sent = call_envelope(method, Generator(3).request(method), BLOCKS)
    async with start(limits={"by_number": 2}) as (_, client):
        headers = soap(provider)
        for _ in range(2):
            assert (await client.post("/soap/v6", content=sent, headers=headers)).status_code == 200
        answer = await client.post("/soap/v6", content=sent, headers=headers)
        assert int(answer.headers["retry-after"]) > 0
        assert b">429<" in answer.content


async def test_the_wsdl_names_the_address_it_was_asked_at_or_the_public_one(
    gateway: httpx.AsyncClient, start: Start
) -> None:
    for path in ("/soap/v6?wsdl", "/soap/v6?WSDL", "/soap/v6.wsdl"):
        answer = await gateway.get(path)
        assert answer.headers["content-type"].startswith("text/xml")
        assert f'location="{gateway.base_url}/soap/v6"'.encode() in answer.content
    odd = await gateway.get("/soap/v6?wsdl", headers={"host": 'x"><evil/>'})
    assert b"evil" not in odd.content
    assert b"schema" in (await gateway.get("/soap/v6.xsd")).content
    async with start(public_url="https://cv.example.org/") as (_, client):
        answer = await client.get("/soap/v6?wsdl")
    assert b'location="https://cv.example.org/soap/v6"' in answer.content
    assert (await gateway.get("/soap/v6")).status_code == 405


async def test_no_header_of_an_envelope_writes_another_line_to_the_owner(
    gateway: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    message = Generator(1).request(REPLACE_CV)
    sent = call_envelope(REPLACE_CV, message, {**BLOCKS, "ConsistencyTokenHeader": "one"})
    for end in (b"&#10;", b"&#13;&#10;", b"&#13;"):
        content = sent.replace(b">one<", b">one" + end + b"x-smuggled: 1<")
        answer = await gateway.post("/soap/v6", content=content, headers=soap(provider))
        assert (fault(answer), registry.received) == ((1014, "Client", ["x-consistency-token"]), [])
