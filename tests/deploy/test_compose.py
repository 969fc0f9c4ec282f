"""The compose file against the code: nothing here can start containers, so what can be compared is compared."""

import json
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from cv_contracts.topics import SERVICES as NAMES
from cvhub.idp.app import Provider, create_app
from cvhub.idp.keys import KeyFolder
from cvhub.people import import_lines
from cvhub.prepare import Settings as TopicSettings
from cvhub.services import SERVICES, Service, Surroundings, environment
from cvhub.state import State

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PARTS: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line)
OURS = [pytest.param(service, id=service.name) for service in SERVICES]


def settings_of(service: Service) -> type[BaseSettings]:
    settings: type[BaseSettings] = import_module(f"{service.module}.settings").Settings
    return settings


def has_setting(settings: type[BaseModel], variable: str) -> bool:
    """Follow PART__NAME into the settings classes; below a mapping every name is one."""
    name, _, rest = variable.lower().partition("__")
    field = settings.model_fields.get(name)
    if field is None or not rest:
        return field is not None
    inner = field.annotation
    return has_setting(inner, rest) if isinstance(inner, type) and issubclass(inner, BaseModel) else True


def test_the_file_is_valid_by_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/deploy/data/compose_spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate({k: v for k, v in COMPOSE.items() if not k.startswith("x-")})


def test_every_service_of_the_contracts_is_in_the_local_stack() -> None:
    assert {service.name for service in SERVICES} == set(NAMES)


@pytest.mark.parametrize("service", OURS)
def test_every_service_of_the_local_stack_is_there_with_its_own_image(service: Service) -> None:
    build = PARTS[service.name]["build"]
    assert (ROOT / build["dockerfile"]).is_file()
    assert build["args"]["MODULE"] == service.module
    assert (ROOT / build["args"]["SERVICE"] / "src" / service.module / "__main__.py").is_file()


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting_and_every_needed_setting_has_one(service: Service) -> None:
    settings, given = settings_of(service), PARTS[service.name]["environment"]
    assert [variable for variable in given if not has_setting(settings, variable)] == []
    needed = {name for name, field in settings.model_fields.items() if field.is_required()}
    assert needed <= {variable.lower().partition("__")[0] for variable in given}


@pytest.mark.parametrize("service", OURS)
def test_who_sets_one_value_of_a_part_leaves_the_others_as_documented(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = Surroundings(
        State(tmp_path), defaultdict(lambda: 9000), "kafka:9092", defaultdict(lambda: "postgresql://db/one")
    )
    for name, value in environment(service, around).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HTTP__PORT")
    monkeypatch.setenv("HTTP__HOST", "::")
    documented = settings_of(service).model_fields["http"].default
    assert settings_of(service)().model_dump()["http"] == {**documented.model_dump(), "host": "::"}


def test_the_topics_job_is_told_what_it_needs() -> None:
    assert all(has_setting(TopicSettings, variable) for variable in PARTS["topics"]["environment"])


def test_the_gateway_finds_each_owner_at_the_port_it_listens_on() -> None:
    owners = {
        name: url for name, url in PARTS["gateway"]["environment"].items() if name.startswith("OWNERS__")
    }
    expected = {
        f"OWNERS__{service.database.upper()}": f"http://{service.name}:{PARTS[service.name]['environment']['HTTP__PORT']}"
        for service in SERVICES
        if service.owner
    }
    assert owners == expected


def test_the_gateway_trusts_the_issuer_that_the_local_provider_names() -> None:
    command, environment = PARTS["idp"]["command"], PARTS["gateway"]["environment"]
    issuer = command[command.index("--issuer") + 1]
    assert environment["TOKEN__ISSUER"] == issuer
    assert environment["TOKEN__JWKS_URL"] == f"{issuer}/jwks.json"


@pytest.mark.parametrize("service", [p for p in OURS if p.values[0].migrations])  # type: ignore[union-attr]
def test_each_owner_starts_after_its_migrations_and_the_topics_and_has_its_own_database(
    service: Service,
) -> None:
    after = PARTS[service.name]["depends_on"]
    assert after[f"{service.name}-migrate"]["condition"] == "service_completed_successfully"
    assert after["topics"]["condition"] == "service_completed_successfully"
    migrate = PARTS[f"{service.name}-migrate"]
    assert migrate["command"] == ["migrate"]
    assert migrate["depends_on"]["postgres"]["condition"] == "service_healthy"
    dsn = PARTS[service.name]["environment"]["POSTGRES__DSN"]
    assert dsn == f"postgresql://{service.database}:${{POSTGRES_PASSWORD}}@postgres:5432/{service.database}"
    assert service.database in (ROOT / "deploy/postgres/databases.sh").read_text()


def test_what_is_waited_for_is_there_and_says_when_it_is_healthy() -> None:
    for name, part in PARTS.items():
        for other, how in part.get("depends_on", {}).items():
            assert other in PARTS, f"{name} waits for {other}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in PARTS[other] or "build" in PARTS[other]


@pytest.mark.parametrize("service", OURS)
def test_services_run_with_a_read_only_root_and_no_capabilities(service: Service) -> None:
    part = PARTS[service.name]
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["environment"]["IDENTITY__KEY_FILE"] == f"/keys/{service.name}.pem"


def test_every_variable_of_the_compose_file_is_in_the_example_with_a_line_about_it() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == set(EXAMPLE)
    lines = (ROOT / ".env.example").read_text().splitlines()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("#"):
            assert lines[number + 1].startswith("# ")


def test_only_ports_of_this_machine_are_opened() -> None:
    ports = [port for part in PARTS.values() for port in part.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def told(command: str) -> list[list[str]]:
    """Give the words of each such command that deploy/README.md writes out."""
    text = (ROOT / "deploy/README.md").read_text().replace("\\\n", "")
    found = re.findall(rf"^(?:\w+=\$\()?({command} .*?)(?: *\|.*)?$", text, re.MULTILINE)
    return [shlex.split(one) for one in found]


async def test_a_newcomer_gets_a_token_by_the_form_that_is_written_out(tmp_path: Path) -> None:
    (ask,) = told("curl")
    sent = [value for option, value in pairwise(ask) if option in ("-d", "--data-urlencode")]
    form = dict(one.replace("$SECRET", "the secret").split("=", 1) for one in sent)
    keys = KeyFolder(tmp_path)
    keys.prepare()
    issuer = next(word for word in ask if word.startswith("http")).removesuffix("/token")
    assert issuer == f"http://127.0.0.1:{EXAMPLE['IDP_PORT']}"
    app = create_app(Provider(issuer, "the secret", keys))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=issuer) as client:
        answer = await client.post("/token", data=form)
    assert answer.status_code == 200, answer.text
    assert answer.json()["access_token"]


def test_the_citizens_that_a_newcomer_imports_are_those_of_the_local_stack() -> None:
    making = next(words for words in told("docker compose exec") if "-c" in words)
    made = subprocess.check_output([sys.executable, "-c", making[making.index("-c") + 1]])  # noqa: S603 - of that page
    assert made == b"".join(import_lines(made.count(b"\n")))
    assert made
