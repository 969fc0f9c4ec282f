"""The WSDL and the schema hold by the words of the service description, for our own tool and for another one."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from importlib.resources import files
from itertools import count
from typing import Any

import pytest
import xmlschema
from lxml import etree
from xmlschema.extras.wsdl import Wsdl11Document

from cv_contracts.methods import METHODS, Method
from cv_contracts.wire import GetCVResponse, ReplaceCVRequest
from cv_contracts.wire.common import is_request_id
from cv_gateway.messages import examples, messages_of
from cv_gateway.openapi import document
from cv_gateway.soap.envelope import EnvelopeReader
from cv_gateway.soap.mapping import CITIZEN, CV_NUMBER, IN_HEADERS, mapped
from cv_gateway.soap.reading import read
from cv_gateway.soap.schema import Schema
from cv_gateway.soap.tables import NAMESPACE, Element, messages
from cv_gateway.soap.testing import SOAP_METHODS, Generator, call_envelope, caller_blocks
from cv_gateway.soap.writing import DoesNotFit, write

FOLDER = files("cv_gateway.soap")
CVS, SAMPLE = 1_000, 40
GET_CV, REPLACE_CV = METHODS[0], METHODS[12]

Outline = Iterator[tuple[str, str, bool]]


@pytest.fixture(scope="module")
def second() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(FOLDER / "v6.xsd"))


def test_the_wsdl_is_one_for_another_tool_too(second: xmlschema.XMLSchema) -> None:
    wsdl = Wsdl11Document(str(FOLDER / "v6.wsdl"), cls=xmlschema.XMLSchema10)  # type: ignore[no-untyped-call]
    (port_type,) = wsdl.port_types.values()
    assert [name for name, *_ in port_type.operations] == [method.name for method in SOAP_METHODS]
    assert {one.local_name for one in second.elements.values()} >= {
        name for method in SOAP_METHODS for name in (method.name, f"{method.name}Response")
    }


@pytest.mark.parametrize(
    "request_id", ["x", "~" * 46, "Sag 12", "", "x" * 47, " x", "x ", "x" * 46 + " ", "æ", "a\tb", "a\x7f"]
)
def test_openapi_xml_schema_and_owners_take_the_same_request_ids(
    second: xmlschema.XMLSchema, request_id: str
) -> None:
    pattern = document()["components"]["parameters"]["RequestId"]["schema"]["pattern"]
    taken = is_request_id(request_id)
    assert (re.search(pattern, request_id) is not None) is taken
    assert second.types["RequestIdType"].is_valid(request_id) is taken


def _of_wire(node: dict[str, Any], defs: dict[str, Any], place: str = "") -> Outline:
    node = _resolved(node, defs)
    if node.get("type") == "array":
        yield from _of_wire(node.get("items", {}), defs, place)
    for name, child in node.get("properties", {}).items():
        many = _resolved(child, defs).get("type") == "array"
        yield f"{place}/{name}", "1" if name in node.get("required", ()) else "0-1", many
        yield from _of_wire(child, defs, f"{place}/{name}")


def _resolved(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in node:
        node = next(one for one in node["anyOf"] if one.get("type") != "null")
    return defs[node["$ref"].split("/")[-1]] if "$ref" in node else node


def _of_schema(element: Element, place: str = "") -> Outline:
    if element.item is not None:
        yield from _of_schema(element.item, place)
    for child in element.children:
        many = child.item is not None or child.repeats
        yield f"{place}/{child.name}", "1" if child.required else "0-1", many
        yield from _of_schema(child, f"{place}/{child.name}")


@pytest.mark.parametrize("method", SOAP_METHODS, ids=lambda method: method.name)
def test_a_message_has_the_elements_of_the_wire_types_in_their_order(method: Method) -> None:
    given = messages_of(method)
    answer = given.answer.model_json_schema(by_alias=True)
    told = list(_of_schema(messages()[f"{method.name}Response"]))
    assert told == list(_of_wire(answer, answer.get("$defs", {})))
    asked = list(_of_schema(messages()[method.name]))
    if method.citizen == "header":
        assert asked.pop(0) == (f"/{CITIZEN}", "1", False)
    if method.name == "GetCvStatus":
        assert asked.pop(0) == (f"/{CV_NUMBER}", "0-1", False)
    model = given.body or given.query
    schema = {} if model is None else model.model_json_schema(by_alias=True)
    assert asked == list(_of_wire(schema, schema.get("$defs", {})))


@pytest.mark.parametrize("method", SOAP_METHODS, ids=lambda method: method.name)
def test_what_goes_through_xml_comes_out_as_it_went_in(method: Method, second: xmlschema.XMLSchema) -> None:
    schema, reader = Schema(), EnvelopeReader()
    for seed in range(SAMPLE):
        generator = Generator(seed)
        answer = generator.answer(method)
        text = write(f"{method.name}Response", answer)
        element = etree.fromstring(text)
        assert schema.accepts(element), schema.errors(element)
        assert read(element) == answer
        if seed < 5:
            second.validate(text)
        asked = generator.request(method)
        request = reader.read(call_envelope(method, asked, caller_blocks()))
        assert request.message == asked
        assert not request.errors


def test_an_empty_number_keeps_the_landline_in_its_place_both_ways() -> None:
    answer = deepcopy(examples()["GetCVResponse"])
    contact = answer["CVProfile"]["PersonalData"]["ContactInformation"] = {"PhoneNumber": ["", "+4533123456"]}
    element = etree.fromstring(write("GetCVResponse", answer))
    assert Schema().accepts(element)
    assert [phone.text for phone in element.iter("{*}PhoneNumber")] == [None, "+4533123456"]
    assert read(element) == answer
    asked = {**Generator(0).request(REPLACE_CV), "ContactInformation": contact}
    assert EnvelopeReader().read(call_envelope(REPLACE_CV, asked, caller_blocks())).message == asked


@pytest.mark.slow
def test_a_thousand_cvs_are_the_same_by_soap_as_by_rest_field_by_field() -> None:
    schema = Schema()
    for seed in range(CVS):
        rest = GetCVResponse.from_json(json.dumps(Generator(seed).answer(GET_CV))).json_bytes()
        element = etree.fromstring(write("GetCVResponse", json.loads(rest)))
        assert schema.accepts(element), schema.errors(element)
        assert read(element) == json.loads(rest)


@pytest.mark.slow
def test_a_thousand_cvs_that_replace_others_reach_their_owner_as_by_rest() -> None:
    reader = EnvelopeReader()
    for seed in range(CVS):
        message = Generator(seed).request(REPLACE_CV)
        request = reader.read(call_envelope(REPLACE_CV, message, {}))
        assert request.message is not None, request.errors
        rest = mapped(REPLACE_CV, request.message)
        assert rest.headers[0] == (b"x-civilregistrationidentifier", message.pop(CITIZEN).encode())
        assert json.loads(rest.body) == message
        ReplaceCVRequest.from_json(rest.body)


BAD_ANSWERS: list[Any] = [
    [],
    {},
    {"Municipality": {"MunicipalityCode": "101"}},
    {"Municipality": {"MunicipalityCode": 101, "MunicipalityName": "x"}},
    {"Municipality": {"MunicipalityCode": "101", "MunicipalityName": "x"}, "More": 1},
    {"Municipality": {"MunicipalityCode": "101", "MunicipalityName": "x"}, "CVStatusIdentifier": True},
    {"Municipality": {"MunicipalityCode": "101", "MunicipalityName": "x"}, "CVStatusIdentifier": "1"},
]


@pytest.mark.parametrize("answer", BAD_ANSWERS, ids=range(len(BAD_ANSWERS)))
def test_an_answer_that_is_not_what_the_schema_says_is_not_half_told(answer: Any) -> None:
    with pytest.raises(DoesNotFit):
        write("GetCVResponse", answer)


def test_what_xml_cannot_carry_does_not_break_an_answer() -> None:
    text = "a\x00\x0b\ufffe\r\n\t&<>]]>"
    answer = {"Municipality": {"MunicipalityCode": "101", "MunicipalityName": text}}
    read_again = read(etree.fromstring(write("GetCVResponse", answer)))
    assert read_again["Municipality"]["MunicipalityName"] == "a\ufffd\ufffd\ufffd\r\n\t&<>]]>"


PERSON = f"<{CITIZEN}>0101010000</{CITIZEN}>"
REFUSED = {
    f"<GetCV><{CITIZEN}>3213131234</{CITIZEN}></GetCV>": (CITIZEN, "does not have the form required"),
    "<GetCV/>": ("body", f"lacks {CITIZEN}"),
    f"<GetCV>{PERSON}<Secret>hemmelig</Secret></GetCV>": ("body", "holds an element that is not known here"),
    f"<GetCV xmlns:x='urn:x' x:a='hemmelig'>{PERSON}</GetCV>": (
        "body",
        "has an attribute that is not known here",
    ),
    f"<GetCVOnStatus>{PERSON}<CVStatusIdentifier>4</CVStatusIdentifier></GetCVOnStatus>": (
        "CVStatusIdentifier",
        "is not one of the values allowed",
    ),
    f"<CreateAsylumCVTransition>{PERSON}<AsylumCVTransitionDate>2026-01-01</AsylumCVTransitionDate>"
    "</CreateAsylumCVTransition>": (
        "AsylumCVTransitionDate",
        "is not expected here; expected: CVEditEndDate",
    ),
    "<GetCVUpdateList><CVChangeStartTime>hemmelig</CVChangeStartTime></GetCVUpdateList>": (
        "CVChangeStartTime",
        "is not a value of its type",
    ),
    "<GetCVUpdateList><CVChangeStartTime>2026-01-01T00:00:00Z</CVChangeStartTime>"
    "<CVListPage>1503801234</CVListPage></GetCVUpdateList>": (
        "CVListPage",
        "does not have the form required",
    ),
    f"<ReplaceCV>{PERSON}<ContactInformation><PhoneNumber>1</PhoneNumber>"
    "<PhoneNumber>hemmelighemmelighemmelig</PhoneNumber></ContactInformation></ReplaceCV>": (
        "ContactInformation.PhoneNumber[1]",
        "is longer than allowed",
    ),
    f"<ReplaceCV>{PERSON}<ContactInformation/><JobConditions/><JobTargetCollection><JobTarget>"
    "<OccupationTaxonomyReference>1</OccupationTaxonomyReference><HasEducation>hemmelig</HasEducation>"
    "</JobTarget></JobTargetCollection></ReplaceCV>": (
        "JobTargetCollection[0].HasEducation",
        "is not a value of its type",
    ),
}


@pytest.mark.parametrize("body", REFUSED, ids=range(len(REFUSED)))
def test_a_refused_message_names_the_element_as_rest_does_and_never_what_was_sent(body: str) -> None:
    schema = Schema()
    begin, _, rest = body.partition(">")
    tag = begin.removesuffix("/")
    text = f'{tag} xmlns="urn:cvhub:cvservice:v6"{"/" if tag != begin else ""}>{rest}'
    element = etree.fromstring(text)
    assert not schema.accepts(element)
    errors = schema.errors(element)
    assert REFUSED[body] in [(error.element, error.reason) for error in errors]
    assert "hemmelig" not in repr(errors)


IN_A_QUERY = [
    pytest.param(method, child.name, id=f"{method.name}-{child.name}")
    for method in SOAP_METHODS
    if method.verb == "GET"
    for child in messages()[method.name].children
    if child.name not in IN_HEADERS
]


@pytest.mark.parametrize("number", ["1503801234", "0101011234"])
@pytest.mark.parametrize(("method", "name"), IN_A_QUERY)
def test_no_element_that_goes_into_a_query_takes_the_number_of_a_person(
    second: xmlschema.XMLSchema, method: Method, name: str, number: str
) -> None:
    requests = (Generator(seed).request(method) for seed in count())
    element = etree.fromstring(write(method.name, next(one for one in requests if name in one)))
    schema = Schema()
    assert schema.accepts(element)
    place = element.find(f"{{*}}{name}")
    assert place is not None
    place.text = number
    assert not schema.accepts(element)
    assert [error.element for error in schema.errors(element)] == [name]
    assert not second.is_valid(element)


@pytest.mark.parametrize("page", ["1", "007", " 7\n", "999999999"])
def test_a_page_has_up_to_nine_digits(second: xmlschema.XMLSchema, page: str) -> None:
    text = f"<CVChangeStartTime>2026-01-01T00:00:00Z</CVChangeStartTime><CVListPage>{page}</CVListPage>"
    element = etree.fromstring(f'<GetCVUpdateList xmlns="{NAMESPACE}">{text}</GetCVUpdateList>')
    assert Schema().accepts(element)
    assert second.is_valid(element)


def test_a_time_zone_of_a_date_a_year_or_a_month_says_nothing() -> None:
    dates = "<CVEditEndDate>2026-12-31+01:00</CVEditEndDate><AsylumCVTransitionDate>2026-11-22Z</AsylumCVTransitionDate>"
    name = "CreateAsylumCVTransition"
    element = etree.fromstring(f'<{name} xmlns="urn:cvhub:cvservice:v6">{PERSON}{dates}</{name}>')
    assert Schema().accepts(element)
    found = read(element)
    assert (found["CVEditEndDate"], found["AsylumCVTransitionDate"]) == ("2026-12-31", "2026-11-22")


def test_a_number_that_json_cannot_carry_goes_on_as_it_is_written_and_is_not_left_out() -> None:
    number = "9" * 400
    point = f"<searchInput><SearchFromGeoPointLat>{number}</SearchFromGeoPointLat></searchInput>"
    element = etree.fromstring(f'<SearchCVText xmlns="urn:cvhub:cvservice:v6">{point}</SearchCVText>')
    assert read(element) == {"searchInput": {"SearchFromGeoPointLat": number}}


@pytest.mark.parametrize("before", ["", "0", "0" * 5_000, f"\n +{'0' * 5_000}", " " * 5_000])
def test_zeros_before_a_number_say_nothing_however_many_there_are(before: str) -> None:
    block = {"ActiveOrganisationHeader": {"OrganisationTypeIdentifier": 8, "OrganisationCode": "10100"}}
    method = next(one for one in SOAP_METHODS if one.name == "GetCVOnStatus")
    message = {CITIZEN: "0101010000", "CVStatusIdentifier": 3}
    sent = call_envelope(method, message, block).replace(b">3<", f">{before}3<".encode())
    request = EnvelopeReader().read(sent.replace(b">8<", f">{before}8<".encode()))
    assert request.message == message
    assert [value for _, value in request.identity] == [b"8", b"10100"]
