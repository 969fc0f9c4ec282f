"""The same input gives the same bytes, in any process and time zone, today and after any change that was not meant."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from pdf_renderer.cv_testing import SAMPLE, cv_of, letter_json, made
from pdf_renderer.document import read
from pdf_renderer.documents import asked_for
from pdf_renderer.templates import TEMPLATES
from pdf_renderer.typesetting import ENGINE, Typesetter

KNOWN = orjson.loads(Path(__file__).with_name("known_hashes.json").read_bytes())
PROGRAM = """
import sys, hashlib, orjson
from pdf_renderer.typesetting import Typesetter
print(hashlib.sha256(Typesetter().render("v1", orjson.loads(sys.stdin.buffer.read()))).hexdigest())
"""


def digest(pdf: bytes) -> str:
    return hashlib.sha256(pdf).hexdigest()


def test_bytes_are_those_that_were_once_given_out(typesetter: Typesetter) -> None:
    """Meant to differ? Then raise LAYOUT in typesetting.py, or make a new template, and write known_hashes.json anew."""
    rendered = {
        "cv": typesetter.render("v1", cv_of("cv", SAMPLE).shown()),
        "frozen": typesetter.render("v1", cv_of("frozen", SAMPLE).shown()),
        "long": typesetter.render("v1", cv_of("frozen", made(107)).shown()),
        "letter": typesetter.render("v1", read(letter_json()).shown()),
    }
    assert {name: digest(pdf) for name, pdf in rendered.items()} == KNOWN["documents"]
    assert KNOWN["engine"] == ENGINE


def test_a_template_in_use_is_never_edited() -> None:
    assert {template.name: template.digest for template in TEMPLATES} == KNOWN["templates"]


@pytest.mark.slow
def test_other_processes_time_zones_and_hash_seeds_give_the_same_bytes(typesetter: Typesetter) -> None:
    shown = cv_of("frozen", made(11)).shown()
    here = digest(typesetter.render("v1", shown))
    for zone, seed in (("Pacific/Auckland", "1"), ("America/Lima", "4711")):
        environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "LANG": "C"}
        out = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", PROGRAM],
            input=orjson.dumps(shown),
            env=environment,
            capture_output=True,
            check=True,
        )
        assert out.stdout.decode().strip() == here


def test_what_was_rendered_before_changes_nothing(typesetter: Typesetter) -> None:
    shown = cv_of("cv", made(5)).shown()
    first = typesetter.render("v1", shown)
    for seed in range(20, 25):
        typesetter.render("v1", cv_of("frozen", made(seed)).shown())
    assert typesetter.render("v1", shown) == first


def test_every_part_of_the_input_is_in_the_hash_and_what_is_not_shown_is_not() -> None:
    document = cv_of("cv", SAMPLE)
    same = cv_of("cv", {**SAMPLE, "JobTargetCollection": [], "JobnetCVId": 11111111})
    assert asked_for(document).hash == asked_for(same).hash
    others = [
        cv_of("frozen", SAMPLE),
        cv_of("cv", SAMPLE, timestamp="2026-11-03T13:05:01+00:00"),
        cv_of("cv", SAMPLE, cvId="00000000-0000-0000-0000-000000000009"),
        cv_of("cv", {**SAMPLE, "JobConditions": {}}),
    ]
    assert len({asked_for(one).hash for one in [document, *others]}) == 5


def test_the_time_of_a_document_is_the_one_it_was_given(typesetter: Typesetter) -> None:
    shown = cv_of("cv", SAMPLE).shown()
    assert b"/CreationDate" in typesetter.render("v1", shown)
    later = typesetter.render("v1", {**shown, "time": "2027-01-01T00:00:00+00:00"})
    assert later != typesetter.render("v1", shown)
