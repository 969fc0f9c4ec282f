"""The messages, methods and faults against the seeds as extracted (contract/seed.json), element by element.

What differs stands with its reason in contract/differences.csv; a difference without a reason fails, and so does a reason
without its difference.
"""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from cv_contracts import wire
from cv_contracts.faults import FAULTS
from cv_contracts.methods import METHODS, Method
from cv_contracts.wire.common import CV_NUMBER, PERSON_NUMBER, PersonNumber

CONTRACT = Path(__file__).parents[1] / "contract"
SEED = {method["number"]: method for method in json.loads((CONTRACT / "seed.json").read_text("utf-8"))}
REASONS = list(csv.DictReader((CONTRACT / "differences.csv").read_text("utf-8").splitlines()))
SIDES = ("input", "output")
WRAPPER = re.compile(r"(?!Cpr).*CollectionType|ArrayOf.*|CVUpdateListType")
INTEGERS = {"int", "integer", "CodeListItemIdentifierType", "OccupationTaxonomyReferenceType"}
INTEGERS |= {"PersonContactDataTypeIdentifierType", "PersonContactDataStatusTypeIdentifierType"}
INTEGERS |= {"QualificationTaxonomyReferenceType"}
EXTREMES = {"int": [-(2**31), 2**31 - 1], "integer": [0, 2**31]}
"""Whole numbers that their type in the seed has: an int has 32 bits."""
GUID = "7b0c9a52-0f3d-4c4e-9d0e-0123456789aB"
SAMPLES: dict[str, tuple[list[str], list[str]]] = {
    PERSON_NUMBER: (
        ["0101001234", "3112999999", "2902001234", "0000000000"],
        ["3102001234", "3104001234", "010100123", "01010012345", "0101001234 ", "0000000001", ""],
    ),
    CV_NUMBER: (["12345678", "00000000"], ["1234567", "123456789", "1234567a", ""]),
    "[0-9]{3}": (["101", "000"], ["10", "1010", "1o1"]),
    wire.common.GUID: ([GUID], [GUID[:-1], GUID + "0", GUID.replace("-", ""), "{" + GUID + "}"]),
    r"([^>\(\)\[\]\\,;:@\s]{0,191}@[^>\(\)\[\]\\,;:@\s]{1,64})": (
        ["a@b", "@b", "x" * 191 + "@" + "y" * 64],
        ["a", "a@", "a@b@c", "a b@c", "a(@b", "x" * 192 + "@y", "x@" + "y" * 65],
    ),
}
FORMS: dict[str, tuple[list[Any], list[Any]]] = {
    "boolean": ([True, False], ["true", 1]),
    "nonNegativeInteger": ([0, 2**31 - 1, 2**31], [-1, "1", 1.5]),
    "decimal": ([55.5, -1, 1000], ["a", None]),
    "dateTime": (["2026-11-22T10:00:00Z", "2026-11-22T10:00:00.123+01:00"], ["2026-11-22", "x", 1]),
    "date": (["2026-11-22"], ["2026-02-30", "22-11-2026", 1]),
    "gYear": (["2017", "0001", "1000"], ["17", 2017, "20177", "0000"]),
    "gMonth": (["--05", "--12"], ["05", "--13", 5]),
    "base64Binary": (["JVBERi0="], [1]),
    "string": (["x", "Æ ø"], [1, True]),
}


@dataclass(frozen=True)
class Element:
    """An element of the seed as it stands in JSON, where the repeated inner element of a collection has no name."""

    row: dict[str, Any]
    occurs: str | None
    items: str | None


def _seed(method: int, side: str) -> dict[str, Element]:
    elements: dict[str, Element] = {}
    wrappers: set[str] = set()
    inner: dict[str, str] = {}
    for row in SEED[method][side]:
        path = row["path"]
        parent = path.rpartition("/")[0]
        at = inner.get(parent, parent)
        if parent in wrappers:
            inner[path] = at
            elements[at] = Element(row, elements[at].occurs, row.get("occurs"))
            if WRAPPER.fullmatch(row.get("type", "")):
                wrappers.add(path)
            continue
        name = path.rpartition("/")[2]
        here = f"{at}/{name}" if at else name
        inner[path] = here
        many = row.get("occurs", "").endswith("*")
        elements[here] = Element(row, row.get("occurs"), row["occurs"] if many else None)
        if WRAPPER.fullmatch(row.get("type", "")):
            wrappers.add(path)
    return elements


@dataclass(frozen=True)
class Field:
    """An element of one of our messages."""

    kind: Any
    required: bool
    many: bool
    least: int
    most: int | None


def _fields(model: type[BaseModel], under: str = "") -> Iterator[tuple[str, Field]]:
    for name, info in model.model_fields.items():
        path = f"{under}{info.alias or name}"
        kind, least, most = _without_none(_annotated(info.annotation, info.metadata)), 0, None
        bare, metadata = _bare(kind)
        many = get_origin(bare) is tuple
        if many:
            least = next((one.min_length for one in metadata if hasattr(one, "min_length")), 0)
            most = next((one.max_length for one in metadata if hasattr(one, "max_length")), None)
            kind = get_args(bare)[0]
            bare, _ = _bare(kind)
        yield path, Field(kind, info.is_required(), many, least, most)
        if isinstance(bare, type) and issubclass(bare, BaseModel):
            yield from _fields(bare, f"{path}/")


def _bare(kind: Any) -> tuple[Any, list[Any]]:
    """Take the annotations off a type."""
    metadata: list[Any] = []
    while get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        for one in more:
            metadata += one.metadata if isinstance(one, FieldInfo) else [one]
        kind = _without_none(kind)
    return kind, metadata


def _without_none(kind: Any) -> Any:
    bare, *metadata = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if type(None) in get_args(bare):
        bare = Union[tuple(one for one in get_args(bare) if one is not type(None))]  # noqa: UP007
    return _annotated(bare, metadata)


def _annotated(kind: Any, metadata: list[Any]) -> Any:
    return Annotated[(kind, *metadata)] if metadata else kind


def _message(method: Method, side: str) -> type[BaseModel] | None:
    if side == "input":
        names = (f"{method.name}Request", f"{method.name}Query")
    else:
        shared = "ServiceReceiptResponse" if method.write else "GetPersonResponse"
        names = (f"{method.name}Response", shared)
    found: type[BaseModel] | None = next((getattr(wire, name) for name in names if hasattr(wire, name)), None)
    return found


def _takes(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_json(json.dumps(value))
    except ValidationError:
        return False
    return True


def _wrong(kind: Any, good: list[Any], bad: list[Any]) -> Iterator[str]:
    yield from (f"refuses {json.dumps(value)}" for value in good if not _takes(kind, value))
    yield from (f"takes {json.dumps(value)}" for value in bad if _takes(kind, value))


def _leaf(kind: Any, row: dict[str, Any]) -> Iterator[str]:
    """What the type does otherwise than the seed's row says, found by trying values."""
    name = row.get("base") if row.get("base") in FORMS or row.get("base") in INTEGERS else row.get("type")
    if "values" in row:
        values = [int(one) if one.isdigit() else one for one in row["values"]]
        yield from _wrong(kind, values, ["Nonsense", 99, ""])
    elif "pattern" in row:
        good, bad = SAMPLES[row["pattern"]]
        assert all(re.fullmatch(row["pattern"], one) for one in good)
        assert not any(re.fullmatch(row["pattern"], one) for one in bad)
        yield from _wrong(kind, good, bad)
    elif "length" in row:
        least, most = row["length"]
        yield from _wrong(
            kind, ["ø" * least, "ø" * most], ["ø" * (most + 1), *(["ø" * (least - 1)] if least else [])]
        )
    elif name in INTEGERS:
        if not (_takes(kind, 1) or _takes(kind, 12345678)):
            yield "refuses whole numbers"
        yield from _wrong(kind, EXTREMES.get(name, []), ["1", 1.5, True, *([2**31] if name == "int" else [])])
    elif name in FORMS:
        yield from _wrong(kind, *FORMS[name])
        if name == "string" and not _takes(kind, "x" * 100_000):
            yield "has a limit of its own"
    else:
        yield f"type: {name or 'none'} in the seed"


def _differences(method: Method, side: str) -> Iterator[tuple[str, str]]:
    seed = _seed(method.number, side)
    model = _message(method, side)
    fields = dict(_fields(model)) if model else {}
    if side == "input" and method.citizen == "header":
        for name in ("PersonCivilRegistrationIdentifier", "x-civilregistrationIdentifier"):
            if name in seed:
                fields[name] = Field(PersonNumber, required=True, many=False, least=0, most=None)
    yield from ((path, "not here") for path in seed if path not in fields)
    yield from ((path, "not in the seed") for path in fields if path not in seed)
    for path in (path for path in seed if path in fields):
        yield from ((path, text) for text in _element(seed[path], fields[path]))


def _element(seed: Element, field: Field) -> Iterator[str]:
    required = {"1": True, "0 - 1": False, "0 - *": False, None: None}[seed.occurs]
    if field.required is not required:
        yield f"occurs: {seed.occurs or 'not said'} in the seed, {'1' if field.required else '0 - 1'} here"
    if field.many:
        least, most = {"0 - *": (0, None), "1 - *": (1, None), "0 - 1": (0, 1), None: (None, None)}[
            seed.items
        ]
        if (field.least, field.most) != (least, most):
            yield f"items: {seed.items or 'not said'} in the seed, limited here" if field.most else "items"
    elif seed.items:
        yield "is repeated in the seed"
    bare, _ = _bare(field.kind)
    if not (isinstance(bare, type) and issubclass(bare, BaseModel)):
        yield from _leaf(field.kind, seed.row)


def _reason_of(method: Method, side: str, path: str, difference: str) -> int | None:
    """Give the row of the reasons that a difference has."""
    return next((i for i, row in enumerate(REASONS) if _fits(row, method, side, path, difference)), None)


def _fits(row: dict[str, str], method: Method, side: str, path: str, difference: str) -> bool:
    return (
        str(method.number) in row["methods"].split()
        and row["side"] in (side, "*")
        and fnmatchcase(path, row["element"])
        and fnmatchcase(difference, row["difference"])
    )


def _told(method: Method) -> Iterator[tuple[str, str, str]]:
    for side in SIDES:
        yield from ((side, path, text) for path, text in _differences(method, side))
    listed = {int(code) for code in SEED[method.number]["faults"]}
    yield from (("fault", str(code), "not in the seed") for code in sorted(method.listed - listed))
    yield from (("fault", str(code), "not here") for code in sorted(listed - method.listed))


each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


@each_method
def test_a_method_has_the_elements_and_faults_of_its_seed_and_what_differs_has_a_reason(
    method: Method,
) -> None:
    assert SEED[method.number]["name"] == method.name
    bare = [one for one in _told(method) if _reason_of(method, *one) is None]
    assert bare == []


def test_every_reason_has_its_difference() -> None:
    used = {_reason_of(method, *one) for method in METHODS for one in _told(method)}
    assert [row for i, row in enumerate(REASONS) if i not in used] == []


def test_a_fault_has_the_text_of_the_seeds() -> None:
    for method in SEED.values():
        for code, text in method["faults"].items():
            ours = FAULTS[int(code)]
            assert re.sub(r"\s", "", ours.title + ours.detail) == re.sub(r"\s", "", text), code


def test_the_comparison_can_find_what_is_missing_extra_and_otherwise() -> None:
    class Less(wire.Wire):
        MunicipalityCode: str
        Extra: str

    seed = {
        path.removeprefix("Municipality/"): one for path, one in _seed(2, "output").items() if "/" in path
    }
    fields = dict(_fields(Less))
    assert seed.keys() - fields.keys() == {"MunicipalityName"}
    assert fields.keys() - seed.keys() == {"Extra"}
    assert 'takes "10"' in list(_element(seed["MunicipalityCode"], fields["MunicipalityCode"]))
