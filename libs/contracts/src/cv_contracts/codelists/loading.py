"""From a directory of CSV files to `CodeLists`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

from cv_contracts.codelists import entries as e
from cv_contracts.codelists.reading import BadCodeList, Key, Row, read_list
from cv_contracts.wire.cv_parts import EducationLevelEnum, JobConditionsType, LanguageSkillLevelType

DATA = Path(__file__).parent / "data"
UNKNOWN_MUNICIPALITY: Final = "000"
"""Shown for a citizen who belongs to no municipality: the seeds require a code and a name."""
UNKNOWN_NAME: Final = "Ukendt"
_CARRIED: Final[Mapping[str, Iterable[str]]] = {
    "education_levels": get_args(EducationLevelEnum),
    "language_levels": get_args(LanguageSkillLevelType),
    "conditions": JobConditionsType.model_fields,
}
"""What a message may carry without a look at the list, which therefore holds all of it."""
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class CodeLists:
    """All code lists, each a mapping by code in the order of its file."""

    municipalities: Mapping[str, e.Municipality]
    organisation_types: Mapping[int, e.OrganisationType]
    user_types: Mapping[int, e.UserType]
    organisations: Mapping[tuple[int, str], e.Organisation]
    contact_groups: Mapping[int, e.ContactGroup]
    cv_statuses: Mapping[int, e.CvStatus]
    contact_data_types: Mapping[int, e.ContactDataType]
    contact_statuses: Mapping[int, e.ContactStatus]
    languages: Mapping[str, str]
    language_levels: Mapping[str, e.RankedName]
    driver_licences: Mapping[str, str]
    education_levels: Mapping[str, e.EducationLevel]
    occupations: Mapping[int, e.Occupation]
    qualifications: Mapping[int, e.Qualification]
    educations: Mapping[int, e.Education]
    countries: Mapping[str, str]
    conditions: Mapping[str, e.Condition]
    postal_codes: Mapping[str, e.PostalCode]

    def knows_organisation(self, organisation_type: int, code: str) -> bool:
        """Tell whether the code is listed, or has the right form where its type is an open one."""
        kind = self.organisation_types.get(organisation_type)
        if kind is None or kind.code_form.fullmatch(code) is None:
            return False
        return kind.open or (organisation_type, code) in self.organisations

    def municipality(self, code: str | None) -> tuple[str, str]:
        """Give code and name to show; without a code, and for one that is not listed, what is known of it."""
        known = self.municipalities.get(code or "")
        return code or UNKNOWN_MUNICIPALITY, UNKNOWN_NAME if known is None else known.name

    def status_id(self, role: str) -> int:
        """Give the number of the CV status with this role; KeyError if the list has none."""
        return _id_of(self.cv_statuses, role)

    def contact_type_id(self, role: str) -> int:
        """Give the number of the contact data type with this role."""
        return _id_of(self.contact_data_types, role)


def _id_of(entries: Mapping[int, Any], role: str) -> int:
    for number, entry in entries.items():
        if entry.role == role:
            return number
    raise KeyError(role)


def load(directory: Path | None = None) -> CodeLists:
    """Read and check the lists; a file that the directory lacks is taken from the package, and without one all are."""
    return default() if directory is None else _read_all(directory)


@cache
def default() -> CodeLists:
    """Give the package's own lists, read once per process."""
    return _read_all(None)


def _read_all(directory: Path | None) -> CodeLists:
    def path(name: str) -> Path:
        replaced = directory / f"{name}.csv" if directory else None
        return replaced if replaced and replaced.is_file() else DATA / f"{name}.csv"

    def numbered(name: str, kind: type[Entry], key: str = "id") -> Mapping[int, Entry]:
        return _read(path(name), kind, key, Row.number)

    def coded(name: str, kind: type[Entry], key: str = "code") -> Mapping[str, Entry]:
        return _read(path(name), kind, key, Row.text)

    def names(name: str) -> Mapping[str, str]:
        return read_list(path(name), ("code", "name"), lambda row: (row.text("code"), row.text("name")))

    if directory is not None and not directory.is_dir():
        raise BadCodeList(directory, 0, "is not a directory")
    lists = CodeLists(
        municipalities=coded("municipalities", e.Municipality),
        organisation_types=numbered("organisation_types", e.OrganisationType),
        user_types=numbered("user_types", e.UserType),
        organisations=_organisations(path("organisations")),
        contact_groups=numbered("contact_groups", e.ContactGroup, "number"),
        cv_statuses=numbered("cv_statuses", e.CvStatus),
        contact_data_types=numbered("contact_data_types", e.ContactDataType),
        contact_statuses=numbered("contact_statuses", e.ContactStatus),
        languages=names("languages"),
        language_levels=coded("language_levels", e.RankedName),
        driver_licences=names("driver_licences"),
        education_levels=coded("education_levels", e.EducationLevel),
        occupations=_occupations(path("occupations")),
        qualifications=numbered("qualifications", e.Qualification),
        educations=numbered("educations", e.Education),
        countries=names("countries"),
        conditions=coded("conditions", e.Condition, "element"),
        postal_codes=_postal_codes(path("postal_codes")),
    )
    _check_references(lists, path)
    return lists


def _read(path: Path, kind: type[Entry], key: str, read_key: Any) -> Mapping[Any, Entry]:
    """Read a list whose columns are the fields of its entry."""
    hints = get_type_hints(kind)
    columns = [field.name for field in fields(cast("Any", kind))]
    readers = [(column, _reader(hints[column])) for column in columns]

    def entry(row: Row) -> tuple[Any, Entry]:
        return read_key(row, key), kind(*[read(row, column) for column, read in readers])

    return read_list(path, tuple(columns), entry)


def _reader(hint: Any) -> Any:
    if get_args(hint):
        allowed = frozenset(get_args(hint))
        return lambda row, column: row.one_of(column, allowed)
    return {int: Row.number, str: Row.text, bool: Row.flag, float: Row.degrees}[hint]


def _organisations(path: Path) -> Mapping[tuple[int, str], e.Organisation]:
    def entry(row: Row) -> tuple[tuple[int, str], e.Organisation]:
        kind, code = row.number("type"), row.text("code")
        return (kind, code), e.Organisation(
            kind, code, row.text("name"), row.text("short_name"), row.flag("assumed")
        )

    return read_list(path, ("type", "code", "name", "short_name", "assumed"), entry)


def _occupations(path: Path) -> Mapping[int, e.Occupation]:
    def entry(row: Row) -> tuple[int, e.Occupation]:
        number, synonyms = row.number("id"), row.optional("synonyms")
        words = tuple(synonyms.split("|")) if synonyms else ()
        return number, e.Occupation(number, row.text("title"), row.text("isco08"), words)

    return read_list(path, ("id", "title", "isco08", "synonyms"), entry)


def _postal_codes(path: Path) -> Mapping[str, e.PostalCode]:
    def entry(row: Row) -> tuple[str, e.PostalCode]:
        code = row.text("code")
        return code, e.PostalCode(
            code,
            row.text("city"),
            row.degrees("latitude"),
            row.degrees("longitude"),
            row.text("municipality_code"),
            row.one_of("kind", frozenset({"area", "box"})) == "box",
        )

    return read_list(path, ("code", "city", "latitude", "longitude", "municipality_code", "kind"), entry)


def _check_references(lists: CodeLists, path: Any) -> None:
    """Check what one list says about another, and that none lacks what messages carry; the line is the entry's place in its file."""

    def check(name: str, entries: Mapping[Key, Any], column: str, known: Mapping[Any, Any]) -> None:
        for line, entry in enumerate(entries.values(), 2):
            if getattr(entry, column) not in known:
                raise BadCodeList(path(name), line, f"{column} is not in its list")

    check("conditions", lists.conditions, "element", JobConditionsType.model_fields)
    for name, carried in _CARRIED.items():
        if missing := sorted(set(carried) - set(getattr(lists, name))):
            raise BadCodeList(path(name), 1, f"{', '.join(missing)} is missing")
    check("postal_codes", lists.postal_codes, "municipality_code", lists.municipalities)
    check("organisations", lists.organisations, "type", lists.organisation_types)
    check("educations", lists.educations, "level", lists.education_levels)
    for line, organisation in enumerate(lists.organisations.values(), 2):
        if lists.organisation_types[organisation.type].code_form.fullmatch(organisation.code) is None:
            raise BadCodeList(path("organisations"), line, "code does not have the form of its type")
