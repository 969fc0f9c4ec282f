"""Messages for tests and measurements: generated ones that the wire types accept, and envelopes around them."""

import json
import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cv_contracts import wire
from cv_contracts.methods import Method
from cv_contracts.wire.common import YEAR
from cv_gateway.messages import messages_of
from cv_gateway.soap.envelope import OPERATIONS
from cv_gateway.soap.faults import envelope
from cv_gateway.soap.mapping import CITIZEN
from cv_gateway.soap.writing import write

SOAP_METHODS = tuple(OPERATIONS.values())
PERSON = "0101010000"

_LETTERS = "abc æøåÆØÅ ñß漢😀 <b>&amp;\"']]>\t\n\r 123,.;-"


def caller_blocks(kind: int = 8, code: str = "10100", **changed: Any) -> dict[str, Any]:
    """Give the two header blocks of a good call, changed as asked; a block of None is left out."""
    user = {"UserFullName": "Søren Test", "RequestUserTypeIdentifier": 2, "UserIdentifier": "user-1"}
    blocks = {
        "ActiveOrganisationHeader": {"OrganisationTypeIdentifier": kind, "OrganisationCode": code},
        "RequestUserMetadataHeader": {"RequestUserStructure": user},
        **changed,
    }
    return {name: value for name, value in blocks.items() if value is not None}


def call_envelope(method: Method, message: Mapping[str, Any], blocks: Mapping[str, Any]) -> bytes:
    """Write a call as a caller would."""
    header = "".join(write(name, value) for name, value in blocks.items())
    return envelope(write(method.name, dict(message)), header)


class Generator:
    """Makes messages by the JSON schema of the wire types: each optional element comes and goes."""

    def __init__(self, seed: int, most: int = 3) -> None:
        self._choose = random.Random(seed)  # noqa: S311 - no secret
        self._most = most

    def request(self, method: Method) -> dict[str, Any]:
        """Give a message that calls the method, as JSON by the names of its elements."""
        message = {CITIZEN: PERSON} if method.citizen == "header" else {}
        given = messages_of(method)
        model = given.body or given.query
        if model is None:
            return message
        made = self._model(model)
        # A type is told in JSON only: the service description has plain numbers.
        if contact := made.get("ContactInformation"):
            numbers = contact["PhoneNumber"]
            contact["PhoneNumber"] = [one if isinstance(one, str) else one["PhoneNumber"] for one in numbers]
        return {**message, **made}

    def answer(self, method: Method) -> dict[str, Any]:
        """Give an answer as its owner would."""
        return self._model(messages_of(method).answer)

    def _model(self, model: type[wire.Wire]) -> dict[str, Any]:
        schema = _schema(model)
        made = self._value(schema, schema.get("$defs", {}))
        if issubclass(model, wire.Query):
            # That only these are allowed, its JSON schema does not say.
            return {**made, "CVStatusIdentifier": 3} if "CVStatusIdentifier" in made else made
        return model.from_json(json.dumps(made)).json_dict()

    def _value(self, schema: dict[str, Any], defs: dict[str, Any]) -> Any:
        while "type" not in schema:
            schema = self._narrowed(schema, defs)
        if allowed := schema.get("enum", [schema["const"]] if "const" in schema else []):
            return self._choose.choice(allowed)
        kind = schema["type"]
        if kind == "object":
            return self._object(schema, defs)
        if kind == "array":
            return self._array(schema, defs)
        return self._text(schema) if kind == "string" else self._plain(schema)

    def _narrowed(self, schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            named: dict[str, Any] = defs[schema["$ref"].rpartition("/")[2]]
            return named
        kinds = schema.get("anyOf") or schema["oneOf"]
        chosen: dict[str, Any] = self._choose.choice([kind for kind in kinds if kind.get("type") != "null"])
        return chosen

    def _plain(self, schema: dict[str, Any]) -> Any:
        if schema["type"] == "boolean":
            return self._choose.random() < 0.5
        if schema["type"] == "number":
            return round(self._choose.uniform(schema["minimum"], schema["maximum"]), 6)
        return self._choose.randint(max(schema.get("minimum", 0), 0), schema.get("maximum", 999))

    def _object(self, schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
        needed = schema.get("required", ())
        made = {
            name: self._value(one, defs)
            for name, one in schema["properties"].items()
            if name in needed or self._choose.random() < 0.7
        }
        if "StartDate" in made and "EndDate" in made:
            made["EndDate"] = {"Year": "9999"}
        return made

    def _array(self, schema: dict[str, Any], defs: dict[str, Any]) -> list[Any]:
        fewest, most = schema.get("minItems", 0), min(schema.get("maxItems", self._most), self._most)
        return [self._value(schema["items"], defs) for _ in range(self._choose.randint(fewest, most))]

    def _text(self, schema: dict[str, Any]) -> str:
        form = schema.get("format") or schema.get("pattern", "")
        if form in _FORMS:
            return _FORMS[form](self._choose)
        if form.startswith("^(?:(("):
            return PERSON
        if not form and "maxLength" not in schema:
            return "JVBERi0xLjcK"
        length = self._choose.randint(schema.get("minLength", 0), min(schema.get("maxLength", 40), 40))
        return "".join(self._choose.choice(_LETTERS) for _ in range(length))


_FORMS: dict[str, Callable[[random.Random], str]] = {
    "date": lambda choose: (
        f"{choose.randint(1900, 2030)}-{choose.randint(1, 12):02}-{choose.randint(1, 28):02}"
    ),
    "date-time": lambda choose: f"2026-11-{choose.randint(10, 28)}T07:30:{choose.randint(0, 59):02}.123456Z",
    "uuid": lambda choose: f"0b1dcb00-0000-4000-8000-{choose.randrange(16**12):012x}",
    "^--(0[1-9]|1[0-2])$": lambda choose: f"--{choose.randint(1, 12):02}",
    YEAR: lambda choose: str(choose.randint(1950, 2030)),
    "^[0-9]{3}$": lambda choose: str(choose.randint(101, 860)),
    "^[0-9]{8}$": lambda choose: str(choose.randint(10_000_000, 99_999_999)),
}


@cache
def _schema(model: type[wire.Wire]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)
