"""The search for personal data finds each sort of it in each form, for it is worth nothing where it is blind."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from random import Random
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from tests.e2e.collector import END_OF_HEADERS, REQUESTS, exported, message, texts
from tests.e2e.needles import SHORTEST_NAME, Leak, Needles, needles_of

from cvhub.people import SEED
from cvhub.synthetic import SyntheticCitizen, citizens

PEOPLE = list(citizens(SEED, 60))
NEEDLES = needles_of(PEOPLE)
LONG = 30


def _unpadded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


TITLES = {"JobTitle": 5, "CompanyName": 5, "InstitutionName": 5}
"""What else than long texts is the citizen's own, and from how many characters on it is nobody else's word."""
FORMS: dict[str, Callable[[str], str]] = {
    "whole": str,
    "in a sentence": "No such ({}).".format,
    "lower case": str.lower,
    "upper case": str.upper,
    "URL": lambda text: "/v6/Cv?q=" + quote(text, safe=""),
    "form": lambda text: "q=" + quote_plus(text) + "&page=1",
    "URL in a URL": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": lambda text: json.dumps({"text": text}, ensure_ascii=False),
    "ASCII JSON": lambda text: json.dumps({"text": text}),
    "JSON in JSON": lambda text: json.dumps(json.dumps([text])),
    "bytes of Python": lambda text: repr(text.encode()),
    "XML": lambda text: f"<Text>{html.escape(text)}</Text>",
    "base64": lambda text: b64encode(f"the user {text}".encode()).decode(),
    "token": lambda text: f"Bearer a.{_unpadded(json.dumps({'sub': text}, ensure_ascii=False))}.b",
}


def held(one: SyntheticCitizen) -> Iterator[tuple[str, str]]:
    """Give all that the citizen's own documents say, as they say it."""
    citizen = one.citizen
    number = one.person_number
    yield from (("person number", number), ("person number", f"{number[:6]}-{number[6:]}"))
    if one.cv_number:
        yield "CV number", one.cv_number
    for name in (one.name, citizen["familyName"], citizen["givenName"]):
        if len(name) >= SHORTEST_NAME:
            yield "name", name
    yield "date of birth", citizen["dateOfBirth"]
    yield "address", citizen["address"]["addressLine"]
    yield from _of_cv(one.cv or {})


def _of_cv(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for inner, more in value.items():
            yield from _of_cv(more, inner)
    elif isinstance(value, list):
        for more in value:
            yield from _of_cv(more, name)
    elif name == "PhoneNumber":
        digits = value.removeprefix("+45")
        yield from (("phone", value), ("phone", digits), ("phone", f"+45 {digits[:4]} {digits[4:]}"))
    elif name == "E-mail":
        yield "e-mail", value
    elif isinstance(value, str) and len(value) >= TITLES.get(name, LONG + 1):
        yield "written", value


@pytest.mark.parametrize("form", FORMS)
def test_whatever_a_citizen_holds_is_found_in_whatever_form_it_is_said(form: str) -> None:
    sayings = {(kind, text) for one in PEOPLE for kind, text in held(one)}
    assert {kind for kind, _ in sayings} == {
        *("person number", "CV number", "name", "date of birth", "address", "e-mail", "phone", "written")
    }
    missed = [said for said in sayings if not NEEDLES.leaks("log", FORMS[form](said[1]).encode())]
    assert missed == []


def test_what_only_looks_alike_is_not_found() -> None:
    needles = Needles(
        {"number": ["12345678", "1234567890"], "name": ["Bo Holm", "Else Friis"], "text": ["et to tre"]}
    )
    for said in (
        "123456789",
        "0.912345678",
        "Boholm",
        "bo, the holms",
        "else: friiser",
        "et, to.",
        "to tre et",
    ):
        assert needles.leaks("log", said.encode()) == set(), said
    for random_id in ("12345678-1234-4234-8234-123456789012", "1234567890abcdef" * 2, "a234567812345678"):
        assert needles.leaks("log", random_id.encode()) == set(), random_id


def test_nothing_is_found_that_bytes_and_random_ids_say_by_chance() -> None:
    """As in what aiokafka logs of a message, cut off somewhere: `2. hf` is an education, and stands there too."""
    assert any("2. hf" in json.dumps(one.cv) for one in PEOPLE)
    said = rb"b'\x00\x024\xe52\x87Hf83ff82f\x01'"
    assert NEEDLES.leaks("log", said) == set()
    cut_off = rb"b'\x00\x024\xe52\x87Hf83ff82f-1c3d-4e5f-8a9b-0c1'"
    assert Needles({"title": ["2. hf"]}).leaks("log", cut_off) == set()


def test_random_tokens_hold_nothing_by_chance() -> None:
    random = Random(1)  # noqa: S311 - always the same tokens
    tokens = [urlsafe_b64encode(random.randbytes(24)) for _ in range(20_000)]
    assert NEEDLES.leaks("log", b"\n".join(tokens)) == set()


def test_a_leak_says_what_kind_was_found_where_and_not_what() -> None:
    assert Needles({"name": ["Bo Holm"]}).leaks("log x", b"Holm, Bo; bo-holm") == {Leak("name", "log x")}


@pytest.mark.parametrize("path", REQUESTS)
def test_every_text_of_an_export_is_looked_at_without_the_length_before_it(path: str) -> None:
    said = ["x" * 67, "Bo Holm"]
    assert list(texts(message(path, END_OF_HEADERS + exported(path, said)))) == said


@pytest.mark.parametrize("path", REQUESTS)
def test_a_number_that_an_attribute_is_is_looked_at_too(path: str) -> None:
    body = exported(path, ["12345678"])
    assert b"12345678" not in body
    assert list(texts(message(path, END_OF_HEADERS + body))) == ["cv", "12345678"]
