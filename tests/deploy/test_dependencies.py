"""Each package declares what it imports: in the one environment that all share, what is not declared is there all the same."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = sorted(path.parent for path in ROOT.glob("*/*/pyproject.toml"))
DEPLOYED = [project for project in PROJECTS if project.parent.name in ("libs", "services")]
FOR_TESTS = re.compile(r"testing|conftest")
DISTRIBUTIONS = packages_distributions()
TOGETHER = {"pydantic-core": "pydantic"}
"""What is always installed as a part of something else."""


def imported(project: Path) -> Iterator[str]:
    """Give what the modules of a package import, those for tests left out: modules, and what is taken out of them."""
    for path in (project / "src").glob("**/*.py"):
        if FOR_TESTS.search(path.name):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    yield from (name.name for name in names)
                case ast.ImportFrom(module=str(module), level=0, names=names):
                    yield from (f"{module}.{name.name}" for name in names)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_a_package_declares_what_it_imports(project: Path) -> None:
    told = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    optional = [one for group in told.get("optional-dependencies", {}).values() for one in group]
    named = [re.split(r"[^\w.-]", one)[0] for one in (*told["dependencies"], *optional)]
    declared = {told["name"], *map(canonical, named)}
    names = {name.partition(".")[0] for name in imported(project)} - sys.stdlib_module_names
    missing = {
        name
        for name in names
        if not declared & {TOGETHER.get(canonical(d), canonical(d)) for d in DISTRIBUTIONS.get(name, [name])}
    }
    assert missing == set()


@pytest.mark.parametrize("project", DEPLOYED, ids=lambda project: project.name)
def test_what_is_deployed_uses_nothing_that_is_for_tests(project: Path) -> None:
    assert [name for name in imported(project) if re.search(r"(\.|_)testing\b", name)] == []
