"""For tests: CVs of every shape from a seed, and the words that their documents must hold."""

import random
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

from pdf_renderer.document import CvDocument, FrozenDocument, LetterDocument, read

__all__ = [
    "FROZEN_AT",
    "SAMPLE",
    "Check",
    "cv_of",
    "document_json",
    "letter_json",
    "made",
    "profile",
    "words_of",
]

SAMPLE: Final[dict[str, Any]] = orjson.loads(Path(__file__).with_name("sample_cv.json").read_bytes())
Check = Callable[[str, list[Path]], Awaitable[dict[str, str]]]
"""Checks files against a flavour of veraPDF; gives the outcome of each by its path."""
FROZEN_AT: Final = datetime(2026, 11, 3, 13, 5, tzinfo=UTC)

_WORDS: Final = [
    "ansvar",
    "århus",
    "æble",
    "økonomi",
    "kørsel",
    "og",
    "i",
    "på",
    "med",
    "til",
    "Fællesskab",
    "udvikling",
    "rådgivning",
    "sælger",
    "smørrebrød",
    "Ærø",
    "Ødis",
    "Åbenrå",
    "brød",
    "mælk",
    "køkken",
    "håndværk",
    "møder",
    "kunder",
    "it-drift",
    "vagtplan",
    "24/7",
    "C++",
    "C#",
    "(deltid)",
    "50",
    "%",
    "A/S",
    "»citat«",
    "naïve",
    "café",
    "Łódź",
    "München",
    "søndag",
    "fiskeri",
    "fjernlager",
    "afløser",
    "effektiv",
    "flygtning",
    "offshore",
    "sygeplejerskeuddannelse",
    "kvalitetssikringskoordinator",
    "-",
    "&",
]
_TITLES: Final = (
    "Tømrer",
    "Sygeplejerske",
    "Chauffør",
    "IT-supporter",
    "Kok",
    "Pædagogmedhjælper",
    "Ørnefanger",
)
_PLACES: Final = ("Ærøskøbing", "København Ø", "Aabenraa", "Ringkøbing-Skjern", "Tórshavn", "")
_LEVELS: Final = ("Novice", "AdvancedBeginner", "Competent", "Proficient", "Expert")
_EDUCATION: Final = ("Unknown", "Vocational", "Bachelor", "Master", "LaborMarketCourses")
_CONDITIONS: Final = [
    "FullTimeEmployment",
    "PartTimeEmployment",
    "StartAsSoonAsPossible",
    "StartAsAgreedOn",
    "PermanentJobPosition",
    "TemporaryJobPosition",
    "StandardJobConditions",
    "EarlyRetirementConditions",
    "DisabilityPensionerConditions",
    "WillingToUseOwnCar",
]


def profile(**parts: Any) -> dict[str, Any]:
    """Give the smallest profile, with `parts` in place of its CV's members."""
    cv: dict[str, Any] = {
        "PreviousJobExperienceCollection": [],
        "EducationCollection": [],
        "QualificationCollection": [],
        "DriverLicenseCollection": [],
        "LanguageSkillCollection": [],
        "OtherExperienceCollection": [],
        "OtherCVReferenceCollection": [],
    }
    address = {"CountryCode": "DK", "AddressLine": "", "PostalCode": "", "PostalArea": ""}
    return {
        "JobnetCVId": 48213377,
        "PersonalData": {"PostalAddress": address, "ContactInformation": {}},
        "JobConditions": {},
        "JobTargetCollection": [],
        "CV": {**cv, **parts},
    }


def made(seed: int) -> dict[str, Any]:
    """Make a profile of any shape: empty, short, long, with everything or with little."""
    chance = random.Random(seed)  # noqa: S311 - test data
    many = chance.choice((0, 1, 2, 3, 5, 50 if seed % 100 == 0 else 4))
    cv = profile(
        PreviousJobExperienceCollection=[_job(chance) for _ in range(many)],
        EducationCollection=[_education(chance) for _ in range(chance.choice((0, 1, 2, 4)))],
        OtherExperienceCollection=[_other(chance) for _ in range(chance.choice((0, 0, 1, 3)))],
        QualificationCollection=[
            {"Name": _text(chance, 3)}
            for _ in range(chance.choice((0, 1, 5, 17, 200 if seed % 40 == 0 else 2)))
        ],
        DriverLicenseCollection=[{"Code": "B", "Name": "Almindelig bil (B)"}] * chance.choice((0, 0, 1, 3)),
        LanguageSkillCollection=[
            {
                "Code": "da",
                "Name": chance.choice(("Dansk", "Færøsk", "Grønlandsk")),
                "Level": chance.choice(_LEVELS),
            }
            for _ in range(chance.choice((0, 1, 3)))
        ],
        OtherCVReferenceCollection=chance.sample(
            ("https://eksempel.dk/cv?a=1&b=æ", "www.eksempel.dk", "ikke et link"), 2
        )
        * chance.choice((0, 1)),
    )
    _personal(chance, cv)
    if chance.random() < 0.7:
        length = 38_000 if seed % 250 == 7 else chance.choice((40, 400, 2000))
        cv["CV"]["ProfessionalSummaryText"] = {"HTMLText": _html(chance, length), "PlainText": "x"}
    cv["JobConditions"] = {element: True for element in _CONDITIONS if chance.random() < 0.4}
    cv["JobTargetCollection"] = [_target(chance) for _ in range(chance.choice((0, 1, 4)))]
    if chance.random() < 0.2:
        _leave_blank(chance, cv["CV"])
    return cv


def _leave_blank(chance: random.Random, cv: dict[str, Any]) -> None:
    """Take the text of any fields that entries are told apart by; which ones still hold it differs."""
    for collection in ("PreviousJobExperienceCollection", "EducationCollection", "OtherExperienceCollection"):
        for entry in cv[collection]:
            for element in ("JobTitle", "Title", "CompanyName", "InstitutionName", "Place"):
                if element in entry and chance.random() < 0.5:
                    entry[element] = chance.choice(("", " "))


def _personal(chance: random.Random, cv: dict[str, Any]) -> None:
    personal = cv["PersonalData"]
    if chance.random() < 0.95:
        personal |= {
            "GivenName": chance.choice(("Åse", "Bjørn", "Zoë")),
            "FamilyName": f"Æbelø-{_text(chance, 1)}",
        }
    personal |= {"DateOfBirth": "1979-05-13", "Gender": "Female"}
    personal["PostalAddress"] |= chance.choice(
        (
            {"AddressLine": "Adressebeskyttet"},
            {"AddressLine": "Søndergade 4, 2. tv.", "PostalCode": "8000", "PostalArea": "Aarhus C"},
            {"AddressLine": "Vej 1", "PostalCode": "6200", "PostalArea": "Aabenraa", "COAddress": "Prøve"},
        )
    )
    personal["ContactInformation"] |= chance.choice(
        (
            {},
            {"E-mail": "åse.prøve@eksempel.dk"},
            {"E-mail": "a@b.dk", "PhoneNumber": ["+4520304050", "86 12 34 56"]},
        )
    )


def _text(chance: random.Random, most: int) -> str:
    return " ".join(chance.choices(_WORDS, k=chance.randint(1, most)))


def _date(chance: random.Random, year: int) -> dict[str, str]:
    return {"Year": str(year)} | ({"Month": f"--{chance.randint(1, 12):02}"} if chance.random() < 0.7 else {})


def _period(chance: random.Random) -> dict[str, Any]:
    year = chance.randint(1975, 2020)
    return {"StartDate": _date(chance, year)} | (
        {"EndDate": _date(chance, year + chance.randint(1, 6))} if chance.random() < 0.7 else {}
    )


def _job(chance: random.Random) -> dict[str, Any]:
    job = {"JobTitle": f"{chance.choice(_TITLES)} {_text(chance, 4)}", **_period(chance)}
    more = {"CompanyName": f"{_text(chance, 3)} A/S", "Place": chance.choice(_PLACES)}
    if chance.random() < 0.6:
        more["SummaryText"] = "\n".join(_text(chance, 40) for _ in range(chance.randint(1, 4)))
    return job | {name: value for name, value in more.items() if chance.random() < 0.8}


def _education(chance: random.Random) -> dict[str, Any]:
    dates = _period(chance) if chance.random() < 0.8 else {}
    return {
        "Title": _text(chance, 4),
        "EducationLevel": chance.choice(_EDUCATION),
        "InstitutionName": "VIA",
        **dates,
    }


def _other(chance: random.Random) -> dict[str, Any]:
    place = chance.choice(_PLACES)
    return {"Title": _text(chance, 3), "Place": place, "SummaryText": _text(chance, 20), **_period(chance)}


def _target(chance: random.Random) -> dict[str, Any]:
    months = chance.choice((0, 1, 7, 12, 30))
    return {
        "JobTitle": _text(chance, 2),
        "OccupationTaxonomyReference": 1,
        "HasEducation": True,
        "MonthsOfExperience": months,
    }


def _html(chance: random.Random, length: int) -> str:
    parts: list[str] = []
    while sum(map(len, parts)) < length:
        text = _text(chance, 30).replace("&", "&amp;")
        forms = (
            f"<p>{text}</p>",
            f"<p><strong>{text}</strong> <em>slut</em><br>{text}</p>",
            f"<ul><li>{text}</li><li><b>{text}</b><ul><li>{text}</li></ul></li></ul>",
            f"<ol><li>{text}</li><li><u>{text}</u> <i>{text}</i></li></ol>",
            f"<p><span>{text}</span> &aelig;&oslash;&aring;</p>",
        )
        parts.append(chance.choice(forms))
    return "".join(parts)


def document_json(kind: str, content: Mapping[str, Any], **more: Any) -> bytes:
    """Give the body of a request for a document of a CV."""
    body: dict[str, Any] = {
        "kind": kind,
        "personId": str(UUID(int=1)),
        "cvId": str(UUID(int=2)),
        "timestamp": FROZEN_AT.isoformat(),
        "content": content,
    }
    if kind == "frozen":
        body["status"] = {"id": 3, "name": "CV godkendt"}
        body["municipality"] = {"code": "751", "name": "Aarhus Kommune"}
    return orjson.dumps({**body, **more})


def letter_json(password: str = "Kamel-42-Torsk", **more: Any) -> bytes:  # noqa: S107 - no secret
    """Give the body of a request for an account letter."""
    address = {
        "CountryCode": "DK",
        "AddressLine": "Prøvevej 12, 3. tv.",
        "PostalCode": "8000",
        "PostalArea": "Aarhus C",
    }
    content = {
        "name": "Åse Østergård",
        "postalAddress": address,
        "userName": "48213377",
        "password": password,
    }
    return orjson.dumps({"kind": "letter", "timestamp": FROZEN_AT.isoformat(), "content": content | more})


def cv_of(kind: str, content: Mapping[str, Any], **more: Any) -> CvDocument | FrozenDocument:
    """Give a document of a CV as the service reads it."""
    document = read(document_json(kind, content, **more))
    if isinstance(document, LetterDocument):
        raise TypeError
    return document


_TAG: Final = re.compile(r"</?(?:p|li|ul|ol|br)>")
_STYLE: Final = re.compile(r"<[^>]*>")


def words_of(content: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Give the words of each text of a CV in the order in which they must be found, one text after the other."""
    cv = content["CV"]
    for collection in ("PreviousJobExperienceCollection", "EducationCollection", "OtherExperienceCollection"):
        for entry in cv[collection]:
            for element in ("JobTitle", "Title", "CompanyName", "InstitutionName", "Place"):
                yield _split(entry.get(element, ""))
            for line in entry.get("SummaryText", "").splitlines():
                yield _split(line)
    for collection in ("QualificationCollection", "DriverLicenseCollection", "LanguageSkillCollection"):
        for entry in cv[collection]:
            yield _split(entry["Name"])
    html = cv.get("ProfessionalSummaryText", {}).get("HTMLText", "")
    for line in _TAG.split(html.replace("&aelig;&oslash;&aring;", "æøå")):
        yield _split(_STYLE.sub("", line).replace("&amp;", "&"))
    personal = content["PersonalData"]
    yield _split(" ".join(personal.get(name, "") for name in ("GivenName", "FamilyName")))
    yield _split(personal["PostalAddress"]["AddressLine"])
    for reference in cv["OtherCVReferenceCollection"]:
        yield _split(reference)


def _split(text: str) -> list[str]:
    return [word.rstrip(",") for word in unicodedata.normalize("NFC", text).split()]
