"""What citizens are put together from: the code lists and the files in `data`, ready to pick from."""

import csv
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Final, TypeVar

from cv_contracts.codelists import CodeLists, Education, Occupation, PostalCode, default

DATA: Final = Path(__file__).parent / "data"
WHEEL: Final = 4_096
Item = TypeVar("Item", bound=Hashable)


def pick(rng: Random, items: Sequence[Item]) -> Item:
    """Pick one; many times faster than `random.choice`."""
    return items[int(rng.random() * len(items))]


def pick_some(rng: Random, items: Sequence[Item], count: int) -> list[Item]:
    """Pick up to so many different ones."""
    return list(dict.fromkeys([pick(rng, items) for _ in range(count)]))


def wheel(weighted: Iterable[tuple[Item, float]]) -> list[Item]:
    """Repeat items by their weight, each at least once, so that `pick` gives them in proportion."""
    pairs = list(weighted)
    total = sum(weight for _, weight in pairs)
    return [item for item, weight in pairs for _ in range(max(1, round(weight / total * WHEEL)))]


@dataclass(frozen=True, slots=True)
class Family:
    """A line of work: its jobs, what one learns for them, what one is good at, and the a-kasser of its people."""

    occupations: tuple[Occupation, ...]
    educations: tuple[Education, ...]
    qualifications: tuple[int, ...]
    skills: tuple[str, ...]
    licences: tuple[str, ...]
    funds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """Everything to pick from. Lists named in the singular are wheels."""

    female: list[str]
    male: list[str]
    surname: list[str]
    streets: list[str]
    municipality: list[str]
    postal_codes: dict[str, list[PostalCode]]
    town: list[str]
    family: list[Family]
    occupations: list[Occupation]
    qualities: list[int]
    sentences: list[str]
    language: list[str]
    schools: list[Education]
    courses: list[Education]


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lines(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf-8").splitlines()


@cache
def material() -> Material:
    """Read the files once per process."""
    lists = default()
    names = _rows("names.csv")
    weights = {row["code"]: int(row["weight"]) for row in _rows("municipality_weights.csv")}
    postal_codes = _postal_codes(lists)

    def named(kind: str) -> list[str]:
        return wheel((row["name"], int(row["weight"])) for row in names if row["kind"] == kind)

    return Material(
        female=named("female"),
        male=named("male"),
        surname=named("surname"),
        streets=_lines("streets.txt"),
        municipality=wheel(weights.items()),
        postal_codes=postal_codes,
        town=wheel(
            (p.city, weights[code]) for code, ps in postal_codes.items() if code in weights for p in ps
        ),
        family=_families(lists),
        # The everyday titles; the rest of the list is of the finer taxonomy.
        occupations=[occupation for occupation in lists.occupations.values() if occupation.id < 10_000],
        qualities=[q.id for q in lists.qualifications.values() if q.group in {"A1", "S1"}],
        sentences=_lines("sentences.txt"),
        language=_languages(lists),
        schools=[
            e for e in lists.educations.values() if e.level in {"SecondarySchool", "PrimarySchoolLastLevel"}
        ],
        courses=[e for e in lists.educations.values() if e.level in {"LaborMarketCourses", "OtherCourses"}],
    )


def _postal_codes(lists: CodeLists) -> dict[str, list[PostalCode]]:
    lived_in: dict[str, list[PostalCode]] = {}
    for postal in lists.postal_codes.values():
        if not postal.box:
            lived_in.setdefault(postal.municipality_code, []).append(postal)
    return lived_in


def _families(lists: CodeLists) -> list[Family]:
    occupations = {occupation.title: occupation for occupation in lists.occupations.values()}
    educations = {education.title: education for education in lists.educations.values()}
    read = json.loads((DATA / "families.json").read_text(encoding="utf-8"))
    good_at = {
        name: [q for q in lists.qualifications.values() if q.group in one["groups"]]
        for name, one in read.items()
    }
    return wheel(
        (
            Family(
                occupations=tuple(occupations[title] for title in one["occupations"]),
                educations=tuple(educations[title] for title in one["educations"]),
                qualifications=tuple(q.id for q in good_at[name]),
                skills=tuple(q.name.lower() for q in good_at[name]),
                licences=tuple(one["licences"]),
                funds=tuple(one["funds"]),
            ),
            one["weight"],
        )
        for name, one in read.items()
    )


def _languages(lists: CodeLists) -> list[str]:
    common = {
        "en": 400,
        "de": 120,
        "sv": 60,
        "no": 50,
        "fr": 30,
        "es": 30,
        "ar": 45,
        "pl": 30,
        "tr": 25,
        "uk": 25,
    }
    rarer = [
        "so",
        "fa",
        "ur",
        "ro",
        "ru",
        "it",
        "pt",
        "lt",
        "bs",
        "sr",
        "vi",
        "th",
        "zh",
        "ku",
        "ps",
        "ti",
        "bg",
    ]
    return wheel((code, common.get(code, 8)) for code in [*common, *rarer] if code in lists.languages)
