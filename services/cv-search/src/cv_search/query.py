"""From searchInput, as it was sent, to a Query; what cannot be searched for is fault 1014 naming the element."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Final

from cv_citizens.citizen import JOBNET, STAR
from cv_contracts.codelists import CodeLists, PostalCode
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.search import GROUP_LIMIT_MAX, SearchInputType
from cv_search.danish import spelled
from cv_search.geo import inside
from cv_search.port import Circle, Clause, Dimension, Organisation, Query
from cv_search.reference import Reference
from cv_search.text import BadText, clauses

NOT_VALID: Final = 1014
RADIUS_KM: Final = 40.0
"""Around a postal code or a city."""
GEO_ELEMENTS: Final = ("SearchFromGeoPointLat", "SearchFromGeoPointLon", "SearchInGeoDistance")
FILTERS: Final[Mapping[str, Dimension]] = {
    "OccupationNames": Dimension.OCCUPATION,
    "Competences": Dimension.COMPETENCE,
    "EducationLevels": Dimension.EDUCATION_LEVEL,
    "Languages": Dimension.LANGUAGE,
    "DriversLicenses": Dimension.LICENCE,
    "TermsOfEmployments": Dimension.CONDITION,
    "Cities": Dimension.CITY,
    "WorkStart": Dimension.WORK_START,
    "WorkTime": Dimension.WORK_TIME,
    "EmploymentType": Dimension.EMPLOYMENT,
    "OccupationNamesWithEducation": Dimension.WITH_EDUCATION,
    "OccupationNamesWithExperience": Dimension.WITH_EXPERIENCE,
    "OccupationNamesWithOutEducation": Dimension.WITHOUT_EDUCATION,
    "OccupationNamesWithOutExperience": Dimension.WITHOUT_EXPERIENCE,
}
"""The fourteen filters by their elements."""
ONE_PLACE_KM: Final = 12.0
"""Postal codes of one city lie so near its middle: those of København 11."""
PART_SHORTEST: Final = 3
_NO_TOWNS: Final = frozenset(
    ("gammel", "hvide", "høje", "kirke", "kongens", "kyst", "ladeplads", "lille", "mølle", "munke", "nørre", "odde",
     "pakkecent", "sande", "store", "strand", "sønder", "vester", "øster")
)  # fmt: skip
"""Words of cities' names that are no name of one by themselves."""
_IN_FULL: Final[Mapping[str, str]] = {
    "gl": "gammel",
    "kbh": "københavn",
    "kgs": "kongens",
    "nr": "nørre",
    "sdr": "sønder",
    "st": "store",
}
"""How the first word of a city may be shortened."""
_SHORTENED: Final = re.compile(r" \w{1,2}$")
"""The last word of Nykøbing F and Aarhus C."""
Refused = list[FieldError]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a result; the first page is 1."""

    number: int
    size: int

    @property
    def begin(self) -> int:
        return (self.number - 1) * self.size

    @property
    def end(self) -> int:
        return self.number * self.size


class Queries:
    """Makes queries with one set of code lists."""

    def __init__(self, lists: CodeLists, reference: Reference) -> None:
        self._lists = lists
        self._reference = reference
        self._cities = _cities(lists)
        self._words = {
            dimension: frozenset(
                one.name for one in lists.conditions.values() if one.group == dimension.value
            )
            for dimension in (
                Dimension.CONDITION,
                Dimension.WORK_START,
                Dimension.WORK_TIME,
                Dimension.EMPLOYMENT,
            )
        }

    def query(self, wanted: SearchInputType) -> Query:
        """Give the query; raises Fault 1014 with every element that is refused."""
        refused: Refused = []
        after, before = _interval(wanted, refused)
        query = Query(
            text=self._text("SearchString", wanted.SearchString, refused),
            secondary=self._text("SearchStringSecondary", wanted.SearchStringSecondary, refused),
            circles=tuple(self._circles(wanted, refused)),
            filters=tuple(self._filters(wanted, refused)),
            organisation=self._organisation(wanted, refused),
            enrolled_only=wanted.ShowOnlyEnrolled,
            changed_after=after,
            changed_before=before,
            group_limit=min(wanted.GroupLimit, GROUP_LIMIT_MAX),
        )
        if refused:
            raise Fault(NOT_VALID, errors=tuple(refused))
        return query

    def _text(self, element: str, text: str | None, refused: Refused) -> tuple[Clause, ...]:
        try:
            return clauses(text or "", self._reference)
        except BadText as bad:
            _refuse(refused, element, str(bad))
            return ()

    def _circles(self, wanted: SearchInputType, refused: Refused) -> Iterator[Circle]:
        """Give the circles, the most exact first: distance is measured from the first."""
        yield from _geo_circle(wanted, refused)
        if code := (wanted.CloseToPostalCode or "").strip():
            place = self._lists.postal_codes.get(code)
            yield from _around("CloseToPostalCode", [place] if place else [], refused)
        if city := (wanted.CloseToCity or "").strip():
            yield from _around("CloseToCity", self._city(_called(city)), refused)

    def _city(self, name: str) -> Sequence[PostalCode]:
        """Give the postal codes of the one place that people call so; none where there is no such place, or more than one.

        Odense is all cities with the word in their names, Odense M too, if they lie together: Stenderup is not Sønder
        Stenderup. Nykøbing Falster is Nykøbing F. Boxes count where nobody lives.
        """
        named = self._lived_in([name])
        part = len(name) >= PART_SHORTEST and name not in _NO_TOWNS
        holding = self._lived_in(city for city in self._cities if part and f" {name} " in f" {city} ")
        shortened = self._lived_in(
            city for city in self._cities if _SHORTENED.search(city) and name.startswith(city)
        )
        for places, middle in ((holding, named or holding), (named, named), (shortened, shortened)):
            if places and _one_place(places, middle):
                return places
        return ()

    def _lived_in(self, cities: Iterable[str]) -> Sequence[PostalCode]:
        """Give the postal codes of cities; boxes where they have nothing else."""
        places = [place for city in cities for place in self._cities.get(city, ())]
        return [place for place in places if not place.box] or places

    def _filters(
        self, wanted: SearchInputType, refused: Refused
    ) -> Iterator[tuple[Dimension, frozenset[str]]]:
        for element, dimension in FILTERS.items():
            values: Sequence[str] | None = getattr(wanted, element)
            if not values:
                continue
            known = self._words.get(dimension)
            for i, value in enumerate(values):
                if known is not None and value not in known:
                    _refuse(refused, f"{element}[{i}]", "is not a value of its code list")
            yield dimension, frozenset(values)

    def _organisation(self, wanted: SearchInputType, refused: Refused) -> Organisation | None:
        """Give the organisation whose citizens are searched; code 0 is no limit, and STAR and Jobnet have everybody."""
        kind, code = wanted.OrganisationTypeIdentifier, wanted.OrganisationCode
        if code == 0:
            return None
        if kind not in self._lists.organisation_types:
            _refuse(refused, "OrganisationTypeIdentifier", "is not in its code list")
        elif not self._lists.knows_organisation(kind, str(code)):
            _refuse(refused, "OrganisationCode", "is not in its code list")
        return None if kind in (STAR, JOBNET) else (kind, str(code))


def page_of(wanted: SearchInputType) -> Page:
    """Give the page that is asked for."""
    return Page(wanted.PageNumber, wanted.ResultsPerPage)


def _refuse(refused: Refused, element: str, reason: str) -> None:
    refused.append(FieldError(f"searchInput.{element}", reason))


def _geo_circle(wanted: SearchInputType, refused: Refused) -> Iterator[Circle]:
    latitude, longitude = wanted.SearchFromGeoPointLat, wanted.SearchFromGeoPointLon
    radius = wanted.SearchInGeoDistance
    if latitude is not None and longitude is not None and radius is not None:
        yield Circle(latitude, longitude, float(radius))
        return
    missing = [element for element in GEO_ELEMENTS if getattr(wanted, element) is None]
    if len(missing) < len(GEO_ELEMENTS):
        for element in missing:
            _refuse(refused, element, "is missing: a circle needs its latitude, longitude and distance")


def _around(element: str, places: Sequence[PostalCode], refused: Refused) -> Iterator[Circle]:
    if places:
        yield _circle(places, RADIUS_KM)
    else:
        _refuse(refused, element, "is not known, or more than one place")


def _circle(places: Sequence[PostalCode], radius_km: float) -> Circle:
    return Circle(
        fmean(place.latitude for place in places), fmean(place.longitude for place in places), radius_km
    )


def _one_place(places: Sequence[PostalCode], middle: Sequence[PostalCode]) -> bool:
    """Tell whether places lie so near the middle of some that all are one."""
    around = _circle(middle, ONE_PLACE_KM)
    return len(list(inside(around, [(place.latitude, place.longitude) for place in places]))) == len(places)


def _interval(wanted: SearchInputType, refused: Refused) -> tuple[datetime | None, datetime | None]:
    if not wanted.IsDateIntervalSpecified:
        return None, None
    if wanted.UpdatedBefore <= wanted.UpdatedLaterThan:
        _refuse(refused, "UpdatedBefore", "is not after UpdatedLaterThan")
    return wanted.UpdatedLaterThan, wanted.UpdatedBefore


def _cities(lists: CodeLists) -> Mapping[str, list[PostalCode]]:
    cities: dict[str, list[PostalCode]] = defaultdict(list)
    for postal in lists.postal_codes.values():
        cities[_called(postal.city)].append(postal)
    return cities


def _called(city: str) -> str:
    """Give a city's name as names are compared: its words, the first one in full (Kgs. Lyngby)."""
    first, *more = spelled(city) or [""]
    return " ".join((_IN_FULL.get(first, first), *more))
