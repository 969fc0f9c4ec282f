# ruff: noqa: INP001
"""Writes docs/conformance.md: every method with its elements and faults and the tests that cover them; `--check` compares.

What a test covers stands in libs/contracts/contract/covered.csv. It is believed only when the test is there, asserts
something, belongs to the owner of the method, to the gateway or to the tests of the whole system, and names each fault by its
number, in itself or in what it refers to in its module.
"""

import ast
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from cv_contracts.faults import FAULTS
from cv_contracts.methods import METHODS, Method

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "conformance.md"
CONTRACT = ROOT / "libs" / "contracts" / "contract"
SHAPE_TEST = "libs/contracts/tests/test_seed_contract.py"
SHARED = ("services/gateway/", "tests/e2e/")
BESIDES = {13: "services/contact-verification/"}
"""ReplaceCV's contact data are checked by contact-verification."""
HEAD = f"""# Conformance

Made by `make generate`. The contract is what the two seed documents say, extracted into
[seed.json](../libs/contracts/contract/seed.json) by `tools/seed_contract.py`. `{SHAPE_TEST}` compares every message with it,
element by element: names, occurrences, lengths, patterns and values, each tried at its limits. What is otherwise here has its
reason below the elements of its method.

A fault is listed as covered by a test only when the test is there, asserts, belongs to the method's owner, the gateway or the
whole system, and names the fault by its number ([covered.csv](../libs/contracts/contract/covered.csv)).
"""


class NotCovered(Exception):  # noqa: N818 - says what is not so
    """A line of covered.csv says what is not so."""


def page() -> str:
    """Give the whole page."""
    seeds = {method["number"]: method for method in json.loads((CONTRACT / "seed.json").read_text("utf-8"))}
    covered = coverage()
    pairs = [(method, code) for method in METHODS for code in method.faults]
    never = _never()
    missing = sum(
        1 for pair in ((m.number, code) for m, code in pairs) if not covered[pair] and pair not in never
    )
    elements = sum(len(seed[side]) for seed in seeds.values() for side in ("input", "output"))
    count = (
        f"{len(METHODS)} methods, {elements} elements, {len(pairs)} pairs of a method and a fault it may answer; "
        f"{len(pairs) - missing - len(never)} covered, {len(never)} never answered, {missing} not covered.\n"
    )
    return "\n".join([HEAD, count, *(_method(method, seeds[method.number], covered) for method in METHODS)])


def coverage() -> dict[tuple[int, int], list[str]]:
    """Give the tests of each method and fault; raise NotCovered for a line that is not true."""
    covered: dict[tuple[int, int], list[str]] = defaultdict(list)
    for row in _rows("covered.csv"):
        test, faults = row["test"], [int(code) for code in row["faults"].split()]
        named = _numbers_in(test)
        if absent := [code for code in faults if code not in named]:
            raise NotCovered(f"{test} does not name {absent}")
        for method in METHODS:
            if row["methods"] == "*" or str(method.number) in row["methods"].split():
                _check_place(test, method)
                for code in faults:
                    if code not in method.faults:
                        raise NotCovered(f"{test}: {method.name} never answers {code}")
                    covered[method.number, code].append(test)
    return covered


def _check_place(test: str, method: Method) -> None:
    places = (*SHARED, f"services/{method.owner}/", BESIDES.get(method.number, SHARED[0]))
    if not test.startswith(places):
        raise NotCovered(f"{test} does not belong to {method.name}")


@cache
def _module(path: str) -> dict[str, ast.stmt]:
    """Give the functions, classes and constants of a module by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return found


@cache
def _numbers_in(test: str) -> frozenset[int]:
    """Give the numbers that a test names; raise NotCovered where there is no such test, or one without an assertion."""
    path, _, name = test.partition("::")
    node = _module(path).get(name) if (ROOT / path).is_file() else None
    if node is None or not name.startswith("test_"):
        raise NotCovered(f"there is no {test}")
    if not any(isinstance(one, ast.Assert) or _is_raises(one) for one in ast.walk(node)):
        raise NotCovered(f"{test} asserts nothing")
    return frozenset(_numbers(node, _module(path), {name}))


def _is_raises(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises"


def _numbers(node: ast.AST, module: dict[str, ast.stmt], seen: set[str]) -> Iterator[int]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and type(one.value) is int:
            yield one.value
        elif isinstance(one, ast.Name) and one.id in module and one.id not in seen:
            seen.add(one.id)
            yield from _numbers(module[one.id], module, seen)


def _never() -> dict[tuple[int, int], str]:
    """Give the faults that a method may answer and never does, with the reason."""
    return {
        (int(number), int(row["fault"])): row["reason"]
        for row in _rows("never.csv")
        for number in row["methods"].split()
    }


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((CONTRACT / name).read_text("utf-8").splitlines()))


def _method(method: Method, seed: dict[str, Any], covered: dict[tuple[int, int], list[str]]) -> str:
    parts = [f"## {method.number} {method.name}\n", f"`{method.verb} {method.path}`, {method.owner}.\n"]
    parts += [_elements(title, seed[title]) for title in ("input", "output") if seed[title]]
    parts += [f"Compared by `{SHAPE_TEST}` [{method.name}].\n", *_differences(method)]
    own = "".join(_fault(method, code, covered) for code in sorted(method.listed))
    others = "".join(_fault(method, code, covered) for code in sorted(method.faults - method.listed))
    head = "| Fault | Title | Covered by |\n| --- | --- | --- |\n"
    parts += [f"Faults that it lists:\n\n{head}{own}"] if own else ["It lists no faults.\n"]
    return "\n".join([*parts, f"Faults that all methods share:\n\n{head}{others}"])


def _elements(title: str, rows: list[dict[str, Any]]) -> str:
    body = "".join(
        f"| {'&emsp;' * row['path'].count('/')}{row['path'].rpartition('/')[2]} | {row.get('type', '')} "
        f"| {row.get('occurs', '')} | {_limits(row)} |\n"
        for row in rows
    )
    return f"{title.capitalize()}:\n\n| Element | Type | Occurs | Limits |\n| --- | --- | --- | --- |\n{body}"


def _limits(row: dict[str, Any]) -> str:
    limits = [f"length {row['length'][0]}-{row['length'][1]}"] if "length" in row else []
    limits += [f"`{row['pattern'].replace('|', chr(92) + '|')}`"] if "pattern" in row else []
    return "; ".join([*limits, *([", ".join(row["values"])] if "values" in row else [])])


def _differences(method: Method) -> Iterator[str]:
    """Give the reasons of what is otherwise here, of elements only; those of faults stand with the method's note."""
    lines = [
        f"- {row['element']} ({row['difference'].rstrip(' *')}): {row['reason']}.\n"
        for row in _rows("differences.csv")
        if str(method.number) in row["methods"].split()
    ]
    if lines:
        yield "Otherwise here, with the reason:\n\n" + "".join(lines)


def _fault(method: Method, code: int, covered: dict[tuple[int, int], list[str]]) -> str:
    tests = covered[method.number, code]
    reason = _never().get((method.number, code))
    if tests and reason:
        raise NotCovered(f"{method.name}: {code} is said to be never answered, and tested")
    shown = "<br>".join(f"`{test}`" for test in dict.fromkeys(tests))
    return f"| {code} | {FAULTS[code].title} | {shown or (f'never: {reason}' if reason else '**not covered**')} |\n"


def main() -> int:
    """Write the page, or with `--check` tell whether it is current."""
    text = page()
    current = PAGE.is_file() and PAGE.read_text("utf-8") == text
    if "--check" in sys.argv:
        sys.stdout.write("" if current else f"not current: {PAGE.relative_to(ROOT)}\n")
        return 0 if current else 1
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
