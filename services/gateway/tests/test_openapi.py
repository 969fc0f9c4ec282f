"""The description of the interface is valid, complete, current, and readable without the internet."""

import json
import re
from pathlib import Path

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate

from cv_contracts.faults import FAULTS
from cv_contracts.methods import METHODS, Method
from cv_gateway.messages import examples, messages_of, models
from cv_gateway.openapi import document, write_or_check

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.mark.slow
def test_the_document_is_valid_openapi_3_1() -> None:
    assert document()["openapi"] == "3.1.0"
    validate(document())


def test_the_committed_document_is_current(tmp_path: Path) -> None:
    assert write_or_check(COMMITTED, check=True) == 0
    assert write_or_check(tmp_path / "openapi.json", check=True) == 1
    assert write_or_check(tmp_path / "openapi.json", check=False) == 0
    assert write_or_check(tmp_path / "openapi.json", check=True) == 0


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_each_method_tells_its_headers_its_scope_and_all_its_faults(method: Method) -> None:
    operation = document()["paths"][method.path][method.verb.lower()]
    assert operation["operationId"] == method.name
    assert method.scope in operation["description"]
    told = {
        int(code)
        for answer in operation["responses"].values()
        for code in answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
    }
    assert told == method.faults
    for code in method.faults:
        assert str(FAULTS[code].status) in operation["responses"]
    headers = {
        document()["components"]["parameters"][p["$ref"].rpartition("/")[2]]["name"]
        for p in operation["parameters"]
        if "$ref" in p
    }
    assert {"x-activeorganisation-type", "x-requestuser-identifier"} <= headers
    assert ("x-requestId" in headers) == method.write
    assert ("x-civilregistrationIdentifier" in headers) == (method.citizen == "header")
    queries = {p["name"] for p in operation["parameters"] if p.get("in") == "query"}
    assert not queries & {"PersonCivilRegistrationIdentifier", "CVNumber", "mobiltelefon", "email"}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_if_match_is_told_of_the_methods_that_heed_it_and_an_etag_of_those_that_give_one(
    method: Method,
) -> None:
    operation = document()["paths"][method.path][method.verb.lower()]
    heeded = {"$ref": "#/components/parameters/IfMatch"} in operation["parameters"]
    assert heeded == (method.name in ("SetCvStatus", "UpdateAsylumCVTransition", "ReplaceCV"))
    refused = operation["responses"].get("412", {"description": ""})["description"]
    assert ("If-Match" in refused) == heeded
    assert ("request id" in refused) == method.write
    etag = operation["responses"]["200"]["headers"].get("etag")
    assert (etag is not None) == (method.number in (1, 2, 10, 11, 12, 13))


def test_the_etag_of_a_pdf_is_the_documents() -> None:
    answers = document()["paths"]["/v6/Cv/pdf"]["get"]["responses"]
    for status in ("200", "304"):
        name = answers[status]["headers"]["etag"]["$ref"].rpartition("/")[2]
        assert "document" in document()["components"]["headers"][name]["description"]


@pytest.mark.parametrize("path", ["/v6/Cv/versions", "/v6/Cv/versions/onstatus"])
def test_the_statuses_that_may_be_asked_for_are_told(path: str) -> None:
    (status,) = (
        p for p in document()["paths"][path]["get"]["parameters"] if p.get("name") == "CVStatusIdentifier"
    )
    assert status["schema"] == {"type": "integer", "enum": [2, 3, 5]}


@pytest.mark.parametrize("path", ["/v1/feed/cv", "/v1/feed/cv/snapshot"])
@pytest.mark.parametrize("status", ["409", "410"])
def test_a_feed_that_does_not_know_the_position_any_more_tells_where_to_go_on(path: str, status: str) -> None:
    answer = document()["paths"][path]["get"]["responses"][status]
    assert answer["content"]["application/problem+json"]["schema"] == {
        "$ref": "#/components/schemas/FeedMoved"
    }
    problem, more = document()["components"]["schemas"]["FeedMoved"]["allOf"]
    assert problem == {"$ref": "#/components/schemas/Problem"}
    assert set(more["required"]) == set(more["properties"]) == {"lastEventId", "snapshot"}


def test_every_example_is_a_message_that_is_accepted() -> None:
    for model in (*models()[0], *models()[1]):
        example = examples()[model.__name__]
        assert model.from_json(json.dumps(example)).json_dict() is not None
        schema = {"$ref": f"#/components/schemas/{model.__name__}", "components": document()["components"]}
        jsonschema.validate(example, schema)


def test_every_method_has_its_messages() -> None:
    for method in METHODS:
        messages = messages_of(method)
        assert messages.body is None or method.verb != "GET"


@pytest.mark.slow
async def test_the_pages_work_without_the_internet(client: httpx.AsyncClient) -> None:
    pages = ["/docs", "/docs/events", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"]
    for path in (*pages, "/openapi.json", "/asyncapi.json"):
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert "'self'" in answer.headers["content-security-policy"]
    for path in pages[:2]:
        assert not re.search(r'(src|href)="(https?:)?//', (await client.get(path)).text)
    assert (await client.get("/openapi.json")).json() == document()
    assert (await client.get("/asyncapi.json")).json()["asyncapi"].startswith("3.")
    assert "cv-registry.cv-changed" in (await client.get("/docs/events")).text


@pytest.mark.slow
async def test_swagger_ui_is_new_enough_for_openapi_3_1(client: httpx.AsyncClient) -> None:
    script = (await client.get("/docs/swagger-ui-bundle.js")).text
    version = re.search(r'PACKAGE_VERSION:"(\d+)\.', script)
    assert version is not None
    assert int(version[1]) >= 5
