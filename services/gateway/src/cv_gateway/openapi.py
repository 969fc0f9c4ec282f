"""The public interface as OpenAPI 3.1, built from the methods, their faults and their wire types."""

import json
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from cv_contracts import codelists, wire
from cv_contracts.faults import FAULTS
from cv_contracts.methods import METHOD_BY_NUMBER, METHODS, Method
from cv_contracts.wire.common import CV_NUMBER, PERSON_NUMBER, REQUEST_ID
from cv_gateway.feed import FEED
from cv_gateway.messages import examples, messages_of, models
from cv_gateway.openapi_feed import feed_paths, feed_schemas
from cv_gateway.openapi_query import query_parameters

REF = "#/components/schemas/{model}"
WITH_REVISION = frozenset({1, 10, 11, 12, 13})
WITH_IF_MATCH = frozenset({4, 12, 13})
AS_PDF = 2
CV_NUMBER_HEADER = frozenset({6})
EITHER_NUMBER = 14
DOCUMENT_ETAG = {"etag": {"$ref": "#/components/headers/document-etag"}}
OF_THE_GATEWAY = {
    408: "The request body did not arrive in time.",
    412: "A request id that was used with another body.",
    413: "The request body is too long.",
    429: "Too many or too early; Retry-After says when to come back.",
    503: "Not now; Retry-After says when to come back.",
}

OR_IF_MATCH = "A request id that was used with another body, or an If-Match that does not hold."

Json = dict[str, Any]


@cache
def document() -> Json:
    """Give the whole document."""
    paths: dict[str, Json] = {}
    for method in METHODS:
        paths.setdefault(method.path, {})[method.verb.lower()] = _operation(method)
    listed = METHOD_BY_NUMBER[FEED.number]
    callers = [one for one in _parameter_refs(listed) if not one["$ref"].endswith("ConsistencyToken")]
    paths |= feed_paths(callers, _faults(listed))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cvhub",
            "version": "6.0.0",
            "description": "CVService v6 and contact data over REST/JSON, with the element names of the service "
            "descriptions. Every call names the authority it acts as and the user behind it. Faults are problem "
            "documents (RFC 9457) with the numbers of the service descriptions. Elements and query parameters that are "
            f"not described here are refused (1014).\n\nNumbers of the code lists:\n\n{_numbers()}",
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "CVService", "description": "CVs and what belongs to them"},
            {"name": "Contact data", "description": "How citizens can be reached"},
            {"name": "Change feed", "description": "Who changed, to keep a copy in step"},
        ],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": _security()},
            "parameters": _parameters(),
            "headers": _headers(),
            "examples": {f"fault-{code}": {"value": _problem(code)} for code in sorted(_answered())},
            "schemas": _schemas(),
        },
    }


def write_or_check(path: Path, *, check: bool) -> int:
    """Write the document, or (with `check`) tell whether the one there is current; gives the exit code."""
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    if check:
        return 0 if path.is_file() and path.read_text("utf-8") == text else 1
    path.write_text(text, "utf-8")
    return 0


def _operation(method: Method) -> Json:
    messages = messages_of(method)
    operation: Json = {
        "operationId": method.name,
        "summary": method.name,
        "description": f"Scope `{method.scope}`. {method.note}".strip(),
        "tags": ["CVService" if method.number <= 13 else "Contact data"],
        "parameters": [*_parameter_refs(method), *query_parameters(messages.query)],
        "responses": {"200": _answer(method, messages.answer), **_faults(method)},
    }
    if method.number == AS_PDF:
        operation["responses"]["304"] = {"description": "Known already", "headers": DOCUMENT_ETAG}
    if messages.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(messages.body)}
    return operation


def _parameter_refs(method: Method) -> list[Json]:
    names = [
        "ActiveOrganisationType",
        "ActiveOrganisationCode",
        "RequestUserName",
        "RequestUserType",
        "RequestUserIdentifier",
        "RequestOrganisationType",
        "RequestOrganisationCode",
    ]
    if method.citizen == "header":
        names.append("CitizenOrCvNumber" if method.number == EITHER_NUMBER else "Citizen")
    if method.number in CV_NUMBER_HEADER:
        names.append("CvNumber")
    names.append("ConsistencyToken")
    if method.write:
        names.append("RequestId")
    if method.number in WITH_IF_MATCH:
        names.append("IfMatch")
    if method.number == AS_PDF:
        names.append("IfNoneMatch")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _answer(method: Method, answer: type[wire.Wire]) -> Json:
    names = ["x-trace-id"]
    if method.write:
        names += ["x-consistency-token", "x-idempotent-replay"]
    if method.number in WITH_REVISION:
        names.append("etag")
    headers, content = _header_refs(names), _content(answer)
    if method.number == AS_PDF:
        headers |= DOCUMENT_ETAG
        content["application/pdf"] = {"schema": {"type": "string", "format": "binary"}}
    return {"description": "Done", "headers": headers, "content": content}


def _content(message: type[wire.Wire]) -> Json:
    name = message.__name__
    schema = {"$ref": REF.format(model=name)}
    return {"application/json": {"schema": schema, "examples": {name: {"value": examples()[name]}}}}


def _faults(method: Method) -> Json:
    by_status: dict[int, list[int]] = {}
    for code in sorted(method.faults):
        by_status.setdefault(FAULTS[code].status, []).append(code)
    own = {429, 503} | ({412} if method.write else set()) | ({408, 413} if method.verb != "GET" else set())
    texts = OF_THE_GATEWAY | ({412: OR_IF_MATCH} if method.number in WITH_IF_MATCH else {})
    return {
        str(status): _fault(status, by_status.get(status, []), texts.get(status))
        for status in sorted({*by_status, *own, 500})
    }


def _fault(status: int, codes: list[int], text: str | None) -> Json:
    lines = [f"{code}: {FAULTS[code].title}" for code in codes]
    description = "\n".join(f"- {line}" for line in ([text] if text else []) + lines)
    names = ["x-trace-id", *(["retry-after"] if status in (429, 503) else [])]
    media: Json = {"schema": {"$ref": REF.format(model="Problem")}}
    if codes:
        media["examples"] = {str(code): {"$ref": f"#/components/examples/fault-{code}"} for code in codes}
    return {
        "description": description or HTTPStatus(status).phrase,
        "headers": _header_refs(names),
        "content": {"application/problem+json": media},
    }


def _answered() -> set[int]:
    return {code for method in METHODS for code in method.faults}


def _problem(code: int) -> Json:
    fault = FAULTS[code]
    return {
        "type": f"urn:cvhub:fault:{code}",
        "title": fault.title,
        "status": fault.status,
        "detail": fault.detail,
        "code": code,
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    }


def _schemas() -> Json:
    bodies, answers = models()
    # Answers too: what may be read as an answer is what may be sent as one.
    mode: JsonSchemaMode = "validation"
    _, definitions = models_json_schema([(model, mode) for model in (*bodies, *answers)], ref_template=REF)
    return {**definitions["$defs"], **feed_schemas(), "Problem": _problem_schema()}


def _problem_schema() -> Json:
    error = {
        "type": "object",
        "properties": {"element": {"type": "string"}, "reason": {"type": "string"}},
        "required": ["element", "reason"],
    }
    return {
        "type": "object",
        "description": "A refused call (RFC 9457). Holds nothing about a person.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string", "description": "The fault's text"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "The fault's description"},
            "code": {"type": "integer", "description": "The fault's number, where it has one"},
            "errors": {
                "type": "array",
                "items": error,
                "description": "For 1014, 9153, 9156-9158 and 9233: which element and why",
            },
            "traceId": {"type": "string"},
        },
        "required": ["type", "title", "status", "detail"],
    }


def _security() -> Json:
    return {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "RS256 or ES256, signed by the identity provider. Claims: `iss`, `aud`, `exp`, `iat`, `client_id`, "
        "`scope` (separated by spaces), `organisation` {type, code}, `may_act_as` [{type, code}], at most 500. Up to 32 KiB.",
    }


def _numbers() -> str:
    """Say what the numbers of the short code lists stand for, in their own words."""
    lists = codelists.default()
    rows: dict[str, Mapping[int, Any]] = {
        "Organisation types": lists.organisation_types,
        "User types": lists.user_types,
        "CvStatusIdentifier": lists.cv_statuses,
        "PersonContactDataTypeIdentifier": lists.contact_data_types,
        "PersonContactDataStatusTypeIdentifier": lists.contact_statuses,
    }
    return "\n".join(
        f"- {name}: " + ", ".join(f"{one.id} {one.name}" for one in entries.values())
        for name, entries in rows.items()
    )


def _parameters() -> Json:
    lists = codelists.default()
    organisations = {"type": "integer", "enum": list(lists.organisation_types)}
    code = {"type": "string", "pattern": "^[0-9A-Za-z._-]{1,20}$"}
    encoded = "percent-encoded UTF-8"
    either = f"^(?:{PERSON_NUMBER}|{CV_NUMBER})$"
    citizen = "x-civilregistrationIdentifier"
    return {
        "ActiveOrganisationType": _header(
            "x-activeorganisation-type", "The authority's type", organisations, 8
        ),
        "ActiveOrganisationCode": _header("x-activeorganisation-code", "The authority's code", code, "10100"),
        "RequestUserName": _header(
            "x-requestuser-name", f"Name, 1-140 characters, {encoded}", _text(1), "A%20B"
        ),
        "RequestUserType": _header(
            "x-requestuser-type", "Type of user", {"type": "integer", "enum": list(lists.user_types)}, 2
        ),
        "RequestUserIdentifier": _header(
            "x-requestuser-identifier", f"Identifier, 1-255 characters, {encoded}", _text(1), "user-1"
        ),
        "RequestOrganisationType": _header(
            "x-requestorganisation-type",
            "The user's organisation. May be left out; else it must be the token's `organisation` (4575)",
            organisations,
        ),
        "RequestOrganisationCode": _header(
            "x-requestorganisation-code", "The code of the user's organisation", code
        ),
        "Citizen": _header(citizen, "Person number", _pattern(f"^(?:{PERSON_NUMBER})$"), "0101010000"),
        "CitizenOrCvNumber": _header(citizen, "Person number or CV number", _pattern(either), "0101010000"),
        "CvNumber": _header(
            "x-cvcustomeridentifier", "CV number; must be the citizen's", _pattern(CV_NUMBER)
        ),
        "ConsistencyToken": _header(
            "x-consistency-token",
            "Tokens of earlier writes that the answer must show, separated by commas; those that another client was given are 1014",
            _text(),
        ),
        "RequestId": _header(
            "x-requestId",
            "For seven days the same id and body is answered again as the first time; with another body it is 412",
            _pattern(REQUEST_ID),
        ),
        "IfNoneMatch": _header(
            "if-none-match", "ETags that are known: 304 if it would be one of them again", _text()
        ),
        "IfMatch": _header(
            "if-match",
            "The ETag that the CV must still have; with UpdateAsylumCVTransition that of the dates' last receipt",
            _text(),
        ),
    }


def _header(name: str, description: str, schema: Json, example: object = None) -> Json:
    parameter = {"name": name, "in": "header", "description": description, "schema": schema}
    return parameter if example is None else {**parameter, "required": True, "example": example}


def _text(shortest: int = 0) -> Json:
    return {"type": "string", "minLength": shortest}


def _pattern(pattern: str) -> Json:
    return {"type": "string", "pattern": pattern if pattern.startswith("^") else f"^{pattern}$"}


def _headers() -> Json:
    described = {
        "x-trace-id": "Finds this call in traces and logs",
        "retry-after": "Seconds to wait",
        "x-consistency-token": "Send it with a later read that must show this write",
        "x-idempotent-replay": "`true` when this is the first answer given again",
        "etag": "The revision",
        "document-etag": "The hash of the document in this form",
    }
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in described.items()}


def _header_refs(names: list[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
