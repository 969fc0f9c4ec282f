"""What the documents point at is there: links, paths, commands, targets."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cv_contracts.topics import TOPICS
from cvhub.cli import app
from servicekit.settings import PostgresSettings

ROOT = Path(__file__).parents[2]
SERVICES = sorted((ROOT / "services").glob("*/README.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "deploy/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
OURS = r"(?:libs|services|tools|tests|deploy|docs|bench)/[\w./-]+"


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as they are made on the web."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_of(page: Path) -> Iterator[str]:
    """Give what stands between backticks, blocks of commands line by line."""
    text = page.read_text()
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", [*PAGES, *SERVICES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_and_make_targets_are_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for code in code_of(page):
        for path in re.findall(rf"(?<![\w./<-]){OURS}(?![\w<*…])", code):
            there = ROOT / path.rstrip(".")
            assert there.exists() or "…" in code or list(ROOT.glob(f"{path}*")), path
        for target in re.findall(r"^make ([a-z-]+)", code):
            assert target in targets, code


@cache
def _commands() -> Any:
    return typer.main.get_command(app)


@pytest.mark.parametrize("page", [*PAGES, *SERVICES], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_cvhub_and_their_options_are_there(page: Path) -> None:
    for code in code_of(page):
        for words in re.findall(r"(?:^|\(|; )cvhub ([a-z][^|;)]*)", code):
            command, rest = _commands(), words.split("#")[0].split()
            while rest and hasattr(command, "commands"):
                assert rest[0] in command.commands, code
                command, rest = command.commands[rest[0]], rest[1:]
            options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
            assert {word for word in rest if word.startswith("--")} <= options, code


@pytest.mark.parametrize("page", [*PAGES, *SERVICES], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_cvhub_that_are_written_out_lack_nothing(page: Path) -> None:
    for code in code_of(page):
        command, words = (
            _commands(),
            shlex.split(code, comments=True)[1:] if code.startswith("cvhub ") else [],
        )
        while words and words[0] in getattr(command, "commands", ()):
            command, words = command.commands[words[0]], words[1:]
        if words and "--help" not in words:
            given, _, _ = command.make_parser(command.context_class(command)).parse_args(words)
            needed = {one.name for one in command.params if one.required}
            assert needed <= {
                name for name, value in given.items() if isinstance(value, str | list | tuple)
            }, code


@pytest.mark.parametrize("page", SERVICES, ids=lambda page: page.parent.name)
def test_a_service_says_what_it_answers_consumes_publishes_and_owns_and_its_settings(page: Path) -> None:
    headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    assert headings[-5:] == ["Answers", "Consumes", "Publishes", "Owns", "Settings"]


def arrows(drawing: str, line: str) -> Iterator[tuple[str, str]]:
    """Give who points at whom by arrows of this kind (`--`, `==`), those told of together one by one."""
    arrow = rf"^ *([\w& ]+?)(?:\(.*\))? {line}(?: .* {line})?> ([\w& ]+)"
    for left, right in re.findall(arrow, drawing, re.MULTILINE):
        yield from ((one, other) for one in left.split(" & ") for other in right.split(" & "))


def test_the_picture_of_the_system_shows_every_call_and_every_topics_two_sides() -> None:
    drawing = ARCHITECTURE.split("```mermaid")[1].split("```")[0]
    values = yaml.safe_load((ROOT / "deploy/chart/values.yaml").read_text())["services"]
    ids = {name: name.replace("-", "_") for name in values}
    shown = {arrow for arrow in arrows(drawing, "--") if set(arrow) <= set(ids.values())}
    assert shown == {
        (ids[name], ids[asked]) for name, its in values.items() for asked in its["calls"].values()
    }
    producers = {(ids[topic.producer], "kafka") for topic in TOPICS}
    followers = {("kafka", ids[name]) for topic in TOPICS for name in topic.followers}
    assert set(arrows(drawing, "==")) == producers | followers


def test_a_database_is_said_to_need_as_many_connections_as_the_chart_may_open() -> None:
    said = re.search(
        r"\(`maxReplicas` \+ (\d+)\) . \(`POSTGRES__POOL_MAX` \+ (\d+)\).*?(\d+) by the chart's values.*?`max_connections` (\d+)",
        (ROOT / "docs/production.md").read_text(),
        re.DOTALL,
    )
    assert said
    replaced, own, of_one, of_server = map(int, said.groups())
    values = yaml.safe_load((ROOT / "deploy/chart/values.yaml").read_text())
    pool = PostgresSettings.model_fields["pool_max"].default
    databases = {name: its for name, its in values["services"].items() if its["database"]}
    for name, its in databases.items():
        # A relay, a build per projection, and the one writer of the feed or of an index that all instances share.
        sessions = any(topic.producer == name for topic in TOPICS) + len(its["follows"])
        assert sessions + (name in ("change-feed", "cv-search")) <= own
        # A rollout makes one instance more, and those that end still hold theirs.
        assert replaced >= 2
        most = its.get("maxReplicas", values["defaults"]["maxReplicas"])
        used = its.get("env", {}).get("POSTGRES__POOL_MAX", pool) + own
        assert (most + replaced) * used <= of_one
    assert len(databases) * of_one <= of_server


def test_services_have_the_modules_that_all_of_them_are_said_to_have() -> None:
    row = re.search(
        r"^\| `services/\*` \| in all: (.*?); in all but the gateway: (.*?);", ARCHITECTURE, re.MULTILINE
    )
    assert row
    for package in (path.parent for path in ROOT.glob("services/*/src/*/settings.py")):
        said = row[1] if package.name == "cv_gateway" else row[1] + row[2]
        for name in re.findall(r"`(\w+)`", said):
            assert (package / f"{name}.py").exists() or (package / name).is_dir(), (package.name, name)


def test_the_hooks_need_nothing_but_what_is_installed() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        for program in re.findall(r"\.venv/bin/[\w-]+", hook["entry"]):
            assert (ROOT / program).exists()
