"""From searchInput to a query, and what is refused with 1014."""

import json
from statistics import fmean
from typing import Any

import pytest

from cv_contracts.codelists import default
from cv_contracts.faults import Fault
from cv_contracts.wire.search import SearchInputType
from cv_search.geo import distance_km
from cv_search.port import Dimension, Query
from cv_search.query import FILTERS, RADIUS_KM, Page, Queries, page_of
from cv_search.reference import Reference

PLAIN = {
    "Id": "00000000-0000-0000-0000-000000000000",
    "GroupLimit": 64,
    "ShowOnlyEnrolled": False,
    "PageNumber": 1,
    "ResultsPerPage": 20,
    "OrganisationCode": 0,
    "OrganisationTypeIdentifier": 0,
    "IsDateIntervalSpecified": False,
    "UpdatedBefore": "2026-01-02T00:00:00Z",
    "UpdatedLaterThan": "2026-01-02T00:00:00Z",
}


@pytest.fixture(scope="module")
def queries() -> Queries:
    return Queries(default(), Reference(default()))


def wanted(**elements: Any) -> SearchInputType:
    return SearchInputType.from_json(json.dumps({**PLAIN, **elements}))


def test_without_anything_everybody_is_wanted(queries: Queries) -> None:
    assert queries.query(wanted()) == Query()
    page = page_of(wanted(PageNumber=3))
    assert page == Page(3, 20)
    assert (page.begin, page.end) == (40, 60)
    assert RADIUS_KM == 40
    assert queries.query(wanted(ShowOnlyEnrolled=True)) == Query(enrolled_only=True)


def test_a_group_has_a_thousand_values_at_most_however_many_are_asked_for(queries: Queries) -> None:
    limits = [queries.query(wanted(GroupLimit=one)).group_limit for one in (0, 64, 1_000, 1_001, 2**31 - 1)]
    assert limits == [0, 64, 1_000, 1_000, 1_000]


def test_a_postal_code_and_a_city_are_circles_of_40_km(queries: Queries) -> None:
    (odense,) = queries.query(wanted(CloseToPostalCode="5000")).circles
    assert (odense.radius_km, round(odense.latitude), round(odense.longitude)) == (RADIUS_KM, 55, 10)
    for city in ("Odense", "odense c", " ODENSE "):
        (around,) = queries.query(wanted(CloseToCity=city)).circles
        assert abs(around.latitude - odense.latitude) < 0.05
    (aarhus,) = queries.query(wanted(CloseToCity="Århus")).circles
    assert queries.query(wanted(CloseToCity="Aarhus")).circles == (aarhus,)
    both = wanted(
        CloseToCity="Odense", SearchFromGeoPointLat=55.0, SearchFromGeoPointLon=10.0, SearchInGeoDistance=7
    )
    assert [circle.radius_km for circle in queries.query(both).circles] == [7, RADIUS_KM]


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("Karup", "7470"),
        ("svenstrup", "9230"),
        ("Lyngby", "2800"),
        ("Nykøbing Falster", "4800"),
        ("Nykoebing Sjælland", "4500"),
        ("Nykøbing Mors", "7900"),
        ("Viby Jylland", "8260"),
        ("Odense M", "5230"),
        ("Odense SØ", "5220"),
        ("Aarhus centrum", "8000"),
        ("Ry", "8680"),
        ("Stenderup", "8781"),
        ("Eskilstrup", "4863"),
        ("Kgs. Lyngby", "2800"),
        ("Nr. Aaby", "5580"),
        ("Sdr. Stenderup", "6092"),
        ("St Heddinge", "4660"),
        ("Høje-Taastrup", "0800"),
        ("Odense  C", "5000"),
    ],
)
def test_a_town_is_known_by_the_name_people_use(queries: Queries, typed: str, code: str) -> None:
    (there,) = queries.query(wanted(CloseToPostalCode=code)).circles
    (around,) = queries.query(wanted(CloseToCity=typed)).circles
    assert distance_km(around, there.latitude, there.longitude) < 1


def test_a_city_is_all_its_districts(queries: Queries) -> None:
    districts = ("5000", "5200", "5210", "5220", "5230", "5240", "5250", "5260", "5270")
    places = [default().postal_codes[code] for code in districts if code in default().postal_codes]
    (around,) = queries.query(wanted(CloseToCity="Odense")).circles
    assert around.latitude == pytest.approx(fmean(place.latitude for place in places))
    assert around.longitude == pytest.approx(fmean(place.longitude for place in places))


def test_the_middle_of_a_city_is_where_people_live_and_of_boxes_alone_where_the_boxes_are(
    queries: Queries,
) -> None:
    assert default().postal_codes["5100"].box
    at_home = queries.query(wanted(CloseToPostalCode="5000")).circles
    assert queries.query(wanted(CloseToCity="Odense C")).circles == at_home
    (copenhagen,) = queries.query(wanted(CloseToCity="København C")).circles
    assert (round(copenhagen.latitude, 2), round(copenhagen.longitude, 2)) == (55.68, 12.57)


def test_each_of_the_fourteen_filters_names_its_dimension(queries: Queries) -> None:
    assert len(FILTERS) == len(set(FILTERS.values())) == 14
    own = {
        "EducationLevels": "Master",
        "DriversLicenses": "B",
        "TermsOfEmployments": "Efterlønner",
        "WorkStart": "Efter aftale",
        "WorkTime": "Deltid",
        "EmploymentType": "Tidsbegrænset",
    }
    for element, dimension in FILTERS.items():
        value = own.get(element, "Kok")
        query = queries.query(wanted(**{element: [value, value]}))
        assert query.filters == ((dimension, frozenset({value})),)
        assert queries.query(wanted(**{element: []})).filters == ()
    assert FILTERS["TermsOfEmployments"] is Dimension.CONDITION


def test_dates_count_only_when_the_interval_is_specified(queries: Queries) -> None:
    dates = {"UpdatedLaterThan": "2026-01-01T00:00:00Z", "UpdatedBefore": "2026-02-01T00:00:00+01:00"}
    assert queries.query(wanted(**dates)) == Query()
    query = queries.query(wanted(**dates, IsDateIntervalSpecified=True))
    assert query.changed_after is not None
    assert query.changed_before is not None
    assert (query.changed_after.isoformat(), query.changed_before.isoformat()) == (
        "2026-01-01T00:00:00+00:00",
        "2026-01-31T23:00:00+00:00",
    )


def test_an_organisation_limits_the_search_to_its_own(queries: Queries) -> None:
    def organisation(kind: int, code: int) -> tuple[int, str] | None:
        return queries.query(wanted(OrganisationTypeIdentifier=kind, OrganisationCode=code)).organisation

    assert organisation(7, 101) == (7, "101")
    assert organisation(8, 10100) == (8, "10100")
    assert organisation(7, 0) is None
    assert organisation(100, 1) is None
    assert organisation(101, 1) is None


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        ({"CloseToPostalCode": "0001"}, ["CloseToPostalCode"]),
        ({"CloseToCity": "Gotham"}, ["CloseToCity"]),
        ({"CloseToCity": "Nykøbing"}, ["CloseToCity"]),
        ({"CloseToCity": "Viby"}, ["CloseToCity"]),
        ({"CloseToCity": "Oden"}, ["CloseToCity"]),
        *(
            ({"CloseToCity": typed}, ["CloseToCity"])
            for typed in ("L", "K", "F", "St", "Kirke", "Mølle", "Hvide", "Kyst", "Fyn", "Sjælland", ".")
        ),
        ({"SearchFromGeoPointLat": 55.0}, ["SearchFromGeoPointLon", "SearchInGeoDistance"]),
        ({"SearchInGeoDistance": 5, "SearchFromGeoPointLon": 9.0}, ["SearchFromGeoPointLat"]),
        ({"WorkTime": ["Fuldtid", "Aldrig"]}, ["WorkTime[1]"]),
        ({"TermsOfEmployments": ["x"]}, ["TermsOfEmployments[0]"]),
        ({"IsDateIntervalSpecified": True}, ["UpdatedBefore"]),
        ({"SearchFromGeoPointLat": 55.0, "SearchFromGeoPointLon": 9.0}, ["SearchInGeoDistance"]),
        ({"OrganisationCode": 5}, ["OrganisationTypeIdentifier"]),
        ({"OrganisationCode": 5, "OrganisationTypeIdentifier": 7}, ["OrganisationCode"]),
        ({"OrganisationCode": -5, "OrganisationTypeIdentifier": 7}, ["OrganisationCode"]),
        ({"SearchString": "ab*", "SearchStringSecondary": "x"}, ["SearchString"]),
        (
            {"SearchStringSecondary": " ".join(f"y{n}" for n in range(40)), "CloseToCity": "x"},
            ["SearchStringSecondary", "CloseToCity"],
        ),
    ],
)
def test_what_cannot_be_searched_for_is_1014_and_named(
    queries: Queries, elements: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(Fault) as fault:
        queries.query(wanted(**elements))
    assert fault.value.code == 1014
    assert [error.element for error in fault.value.errors] == [f"searchInput.{name}" for name in named]
