# ruff: noqa: INP001
"""Extracts the contract from the two seed texts: every method, element, cardinality, length, pattern, value and fault.

`tools/seed_contract.py CVSERVICE CONTACT` writes libs/contracts/contract/seed.json. The texts themselves are not part of
this repository; of their prose only the texts of the faults are kept, for they are sent to callers.
"""

import argparse
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cv_contracts.methods import METHODS

TARGET = Path(__file__).resolve().parents[1] / "libs" / "contracts" / "contract" / "seed.json"
OCCURS = r"0 - 1|0 - \*|1 - \*|1"
LENGTH = re.compile(rf"^Length: (\d+)-(\d+?)({OCCURS})(?!\d)")
MAXIMUM = re.compile(rf"^MaxLength: (\d+?)({OCCURS})(?!\d)")
PATTERN = re.compile(rf"^Pattern: (.+?)({OCCURS})(?: ?[A-ZÆØÅ].*)?$")
PLAIN = ["string", "int", "integer", "boolean", "dateTime", "date", "gYear", "gMonth", "guid", "decimal"]
PLAIN += [
    "nonNegativeInteger",
    "base64Binary",
    "Void",
    "PartialDate",
    "EducationLevelEnum",
    "DriverLicenseEnum",
]
PLAIN += ["SearchInput", "SearchResult", "CVPerson", "GroupSummation", "ArrayOfString", "ArrayOfCVPerson"]
PLAIN += ["ArrayOfEducationLevelEnum", "ArrayOfDriverLicenseEnum", "ArrayOfGroupSummation"]
NAMED = [
    "CVOnStatusItem",
    "CVProfile",
    "CVStatusVersionItem",
    "CVUpdateItem",
    "CVUpdateList",
    "CV",
    "AllowedCVStatusIdentifier",
    "AuthorityName",
    "AvailableCVStatusVersionCollection",
    "COAddress",
    "CVAvailability",
    "ContactInformation",
    "CorrectionComment",
    "CountryCode",
    "AddressLine",
    "CvComment",
    "CvCustomerIdentifier",
    "CvStatusIdentifier",
    "CvStatus",
    "DriverLicensCollection",
    "DriverLicenseCollection",
    "DriverLicense",
    "E-mail",
    "EducationCollection",
    "Education",
    "FamilyName",
    "FormattedText",
    "Gender",
    "GivenName",
    "JobConditions",
    "JobTargetCollection",
    "JobTarget",
    "LanguageCode",
    "LanguageName",
    "LanguageSkillCollection",
    "LanguageSkillLevel",
    "LanguageSkill",
    "MiddleName",
    "MunicipalityCode",
    "Municipality",
    "OccupationTaxonomyReference",
    "OtherCVReferenceCollection",
    "OtherExperiendeTitle",
    "OtherExperienceTitle",
    "OtherExperienceCollection",
    "OtherExperience",
    "PersonCivilRegistrationIdentifier",
    "PersonalData",
    "PhoneNumber",
    "Place",
    "PostalAddress",
    "PostalArea",
    "PostalCode",
    "PreviousJobExperienceCollection",
    "QualificationCollection",
    "QualificationTaxonomyReference",
    "Qualification",
    "ServiceReceipt",
    "Website",
    "WebSite",
]
TYPES = sorted([*PLAIN, *(f"{name}Type" for name in NAMED)], key=len, reverse=True)
"""The first text writes an element and its type in one word, so the types must be known to tell them apart."""

Row = dict[str, Any]


def main() -> None:
    """Write the data file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cvservice", type=Path, help="the text of CVService, version 6")
    parser.add_argument("contact", type=Path, help="the text of the contact data service")
    arguments = parser.parse_args()
    methods = [*cvservice(_text(arguments.cvservice)), *contact(_text(arguments.contact))]
    lines = ",\n".join(_method(method) for method in methods)
    TARGET.write_text(f"[\n{lines}\n]\n", "utf-8")


def _text(path: Path) -> str:
    return path.read_text("utf-8").replace("\xa0", " ")


def cvservice(text: str) -> Iterator[Row]:
    """Read the first text. It names no method, but has them in the order of their numbers."""
    blocks = re.split(r"^Denne metode .*$", text, flags=re.MULTILINE)[1:]
    for method, block in zip(METHODS[:13], blocks, strict=True):
        *tables, faults = [part for part in re.split(r"\n\n+", block) if part.strip()]
        *inputs, output = [_nested(_rows(table)) for table in tables]
        yield {
            "number": method.number,
            "name": method.name,
            "input": [row for table in inputs for row in table],
            "output": output,
            "faults": {
                line[:4]: " ".join(line[4:].split()) for line in sorted(set(faults.splitlines())) if line
            },
        }


def _rows(table: str) -> Iterator[tuple[int, Row]]:
    """Give each element with its depth; a row goes on until the next one begins."""
    for entry in re.split(r"^(?=- )", table, flags=re.MULTILINE):
        if not entry.strip():
            continue
        first, *more = entry.strip("\n").splitlines()
        depth = first.count("-    ")
        yield depth - 1, _row(first.removeprefix("-    " * depth), more)


def _row(first: str, more: list[str]) -> Row:
    head = re.match(rf"([A-Za-z-]+base64Binary|[A-Za-z-]+)({OCCURS})?", first)
    if head is None:
        raise SystemExit(f"no element: {first}")
    name, kind = _split(head[1])
    row: Row = {"name": name, "type": kind, "occurs": head[2]}
    for line in more:
        row |= _detail(line, row)
    return row


def _split(word: str) -> tuple[str, str | None]:
    for kind in TYPES:
        if word.endswith(kind) and len(word) > len(kind):
            return word.removesuffix(kind), kind
    return word, None


def _detail(line: str, row: Row) -> Row:
    if line.startswith("Base: "):
        base = line.removeprefix("Base: ").strip()
        return {"base": base} if row["type"] else {"type": base}
    if found := LENGTH.match(line):
        return {"length": [int(found[1]), int(found[2])], "occurs": found[3]}
    if found := MAXIMUM.match(line):
        return {"length": [0, int(found[1])], "occurs": found[2]}
    if found := PATTERN.match(line):
        return {"pattern": found[1], "occurs": found[2]}
    if line.lstrip().startswith("•"):
        return {"values": [*row.get("values", []), line.lstrip("• ").strip()]}
    found = re.match(OCCURS, line)
    return {"occurs": found[0]} if found and row["occurs"] is None else {}


def contact(text: str) -> Iterator[Row]:
    """Read the second text: one cell of its tables per paragraph, the methods by their names."""
    cells = [cell.strip() for cell in re.split(r"\n\s*\n", text)]
    names = {method.name: method for method in METHODS[13:]}
    starts = [i for i, cell in enumerate(cells) if cell in names]
    for start, end in zip(starts, [*starts[1:], len(cells)], strict=True):
        part = [cell for cell in cells[start:end] if cell]
        inputs, outputs, faults = (part.index(title) for title in ("Input", "Output", "Fejlkoder"))
        yield {
            "number": names[part[0]].number,
            "name": part[0],
            "input": _nested(_inside(part[inputs + 6 : outputs])),
            "output": _nested(_inside(part[outputs + 6 : faults])),
            "faults": dict(_faults(part[faults + 1 :])),
        }


def _inside(cells: list[str]) -> Iterator[tuple[int, Row]]:
    """Leave out the first row: the message itself."""
    for depth, row in list(_cell_rows(cells))[1:]:
        yield depth - 1, row


def _cell_rows(cells: list[str]) -> Iterator[tuple[int, Row]]:
    starts = [i for i, cell in enumerate(cells) if i == 0 or cell.startswith("- ")]
    for start, end in zip(starts, [*starts[1:], len(cells)], strict=True):
        dashes = re.match(r"^(?:-\s+)*", cells[start])
        depth = dashes[0].count("-") if dashes else 0
        name = cells[start][len(dashes[0]) if dashes else 0 :]
        yield depth, _cell_row(name, cells[start + 1 : end])


def _cell_row(name: str, cells: list[str]) -> Row:
    place = next(i for i, cell in enumerate(cells) if re.fullmatch(OCCURS, cell))
    row: Row = {"name": name.split(" [", maxsplit=1)[0], "type": None, "occurs": cells[place]}
    for line in (line for cell in cells[:place] for line in cell.splitlines()):
        if line.startswith("Pattern: "):
            row["pattern"] = line.removeprefix("Pattern: ").strip()
        elif line.startswith("Base: "):
            row |= (
                {"base": line.removeprefix("Base: ")}
                if row["type"]
                else {"type": line.removeprefix("Base: ")}
            )
        elif not line.startswith("(") and " " not in line.strip():
            row["type"] = line.strip()
    return row


def _faults(cells: list[str]) -> Iterator[tuple[str, str]]:
    for i, cell in enumerate(cells):
        if re.fullmatch(r"\d{4}", cell):
            yield cell, " ".join([*cells[i + 1].split(), *cells[i + 2].split()])


def _nested(rows: Iterable[tuple[int, Row]]) -> list[Row]:
    """Give each row its path. A `BaseType` row is no element: what it says belongs to the one above it."""
    found: list[Row] = []
    path: list[str] = []
    shift: dict[int, int] = {}
    for depth, row in rows:
        shift = {at: by for at, by in shift.items() if at < depth}
        if row["name"] == "BaseType":
            found[-1] |= {key: row[key] for key in ("base", "length", "pattern", "values") if key in row}
            shift[depth] = 1
            continue
        path = [*path[: depth - sum(shift.values())], row.pop("name")]
        found.append(
            {"path": "/".join(path), **{key: value for key, value in row.items() if value is not None}}
        )
    return found


def _method(method: Row) -> str:
    sides = {
        side: ",\n   ".join(json.dumps(row, ensure_ascii=False) for row in method[side])
        for side in ("input", "output")
    }
    faults = ",\n   ".join(
        f"{json.dumps(code)}: {json.dumps(text, ensure_ascii=False)}"
        for code, text in method["faults"].items()
    )
    head = f'{{"number": {method["number"]}, "name": "{method["name"]}",'
    rows = "".join(f'\n  "{side}": [\n   {text}],' for side, text in sides.items())
    return f' {head}{rows}\n  "faults": {{\n   {faults}}}}}'


if __name__ == "__main__":
    main()
