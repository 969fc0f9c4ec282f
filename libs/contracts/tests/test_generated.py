"""The generated files are current and valid, the examples hold, and a breaking change does not get through."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest

from cv_contracts import asyncapi, generate
from cv_contracts.envelope import Event, data_json, headers, key, read, traceparent_of
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.schemas import name_of, schema_of
from cv_contracts.topics import EVENT_TYPES, SERVICES, TOPICS, topic_of

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parents[1]
EXAMPLES = sorted((PACKAGE / "examples").rglob("*.json"))


def run(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "cv_contracts", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE / "schemas", tmp_path / "libs" / "contracts" / "schemas")
    for name in ("docs/flow.md", "docs/asyncapi.json", "deploy/chart/files/kafka.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_committed_files_are_current() -> None:
    assert list(generate.stale(ROOT)) == []


@pytest.mark.slow
def test_the_check_tells_what_is_not_current_and_generating_mends_it(copy: Path) -> None:
    assert run("generate", "--check", root=copy).returncode == 0
    (copy / "docs" / "flow.md").write_text("old")
    (copy / "libs/contracts/schemas/cv-status.status-set.v1.json").unlink()
    checked = run("generate", "--check", root=copy)
    assert checked.returncode == 1
    assert "flow.md" in checked.stdout
    assert "status-set" in checked.stdout
    assert run("generate", "--root", str(copy), root=PACKAGE).returncode == 0
    assert list(generate.stale(copy)) == []


def test_a_schema_whose_event_is_gone_is_told(copy: Path) -> None:
    orphan = copy / "libs/contracts/schemas/history/cv-status.status-lost.v1/1.json"
    orphan.parent.mkdir()
    orphan.write_text("{}")
    assert list(generate.stale(copy)) == [orphan]


def test_a_compatible_change_adds_a_snapshot_and_keeps_the_earlier_ones(copy: Path) -> None:
    class Later(CVChanged):
        TYPE: ClassVar[str] = CVChanged.TYPE
        channel: str | None = None

    history = copy / "libs/contracts/schemas/history" / name_of(CVChanged)
    texts = generate.files(copy, [Later])
    assert {path.name for path in texts if path.parent == history} == {"1.json", "2.json"}
    assert "channel" in texts[history / "2.json"]
    assert texts[history / "1.json"] == (history / "1.json").read_text()


def test_a_breaking_change_is_refused_against_the_first_version_too(copy: Path) -> None:
    class Later(CVChanged):
        TYPE: ClassVar[str] = CVChanged.TYPE
        channel: str

    history = copy / "libs/contracts/schemas/history" / name_of(CVChanged)
    shutil.copy(history / "1.json", history / "2.json")
    with pytest.raises(generate.Breaking, match="/channel: required"):
        generate.files(copy, [Later])


@pytest.mark.parametrize("event", EVENT_TYPES.values(), ids=lambda event: event.__name__)
def test_a_schema_is_valid_and_open_to_unknown_fields(event: type[Event]) -> None:
    schema = schema_of(event)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "additionalProperties" not in schema
    assert set(schema["properties"]) == set(event.model_fields) - {"id", "subject", "time"}


@pytest.mark.parametrize("event", EVENT_TYPES.values(), ids=lambda event: event.__name__)
def test_every_event_has_an_example(event: type[Event]) -> None:
    assert any(path.parent.name == name_of(event) for path in EXAMPLES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_is_read_and_fits_its_schema(path: Path) -> None:
    example: dict[str, Any] = json.loads(path.read_text())
    record = [(name, text.encode()) for name, text in example["headers"].items()]
    event = read(record, json.dumps(example["value"]).encode())
    assert name_of(type(event)) == path.parent.name
    assert key(event).decode() == example["key"]
    assert example["headers"]["ce_source"] == topic_of(type(event)).producer
    jsonschema.validate(example["value"], schema_of(type(event)), jsonschema.Draft202012Validator)
    assert read(headers(event, "x", traceparent_of(record)), data_json(event)) == event


def test_the_asyncapi_document_is_valid() -> None:
    schema = json.loads((PACKAGE / "tests" / "data" / "asyncapi-3.0.0.json").read_text())
    jsonschema.Draft7Validator(schema).validate(asyncapi.document())


def test_the_asyncapi_schema_is_able_to_refuse() -> None:
    schema = json.loads((PACKAGE / "tests" / "data" / "asyncapi-3.0.0.json").read_text())
    document = asyncapi.document()
    document["operations"]["cv-registry.send.cv-registry.cv-changed"]["action"] = "shout"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(document)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi.document()
    for reference in references(document):
        place: Any = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
        assert place


def test_the_asyncapi_document_has_every_producer_and_follower() -> None:
    operations = asyncapi.document()["operations"]
    assert len(operations) == sum(1 + len(topic.followers) for topic in TOPICS)
    assert operations["cv-search.receive.cv-status.status-set"]["action"] == "receive"


def test_the_asyncapi_document_names_the_groups_that_a_followers_rights_allow() -> None:
    for name, operation in asyncapi.document()["operations"].items():
        follower, action, _ = name.split(".", 2)
        if action == "receive":
            group = operation["bindings"]["kafka"]["groupId"]
            for allowed in (follower, f"{follower}.citizens"):
                jsonschema.validate(allowed, group)
            for other in (f"{follower}-2", f"{follower}.", f"other.{follower}", ""):
                with pytest.raises(jsonschema.ValidationError):
                    jsonschema.validate(other, group)


def test_the_drawing_shows_every_service_and_topic() -> None:
    page = (ROOT / "docs" / "flow.md").read_text()
    assert page.count("```mermaid") == 1
    assert all(f"[{service}]" in page for service in SERVICES)
    assert all(f"([{topic.name}])" in page for topic in TOPICS)
    assert "cv_status__status_set --> cv_search" in page


def test_the_package_imports_nothing_but_pydantic_and_the_standard_library() -> None:
    allowed = sys.stdlib_module_names | {"pydantic", "pydantic_core", "cv_contracts"}
    for path in (PACKAGE / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert {name.partition(".")[0] for name in names} <= allowed, path.name
