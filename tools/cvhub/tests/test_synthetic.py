"""The synthetic citizens: the same for the same seed, well formed, and of every kind that a rule speaks of."""

import json
from collections import Counter
from datetime import date, timedelta
from typing import Any

import phonenumbers
import pytest

from cv_contracts import wire
from cv_contracts.codelists import default
from cvhub.synthetic import CASES, FUND, JOBCENTER, OTHER_ACTOR, cast, citizen_of_case, citizens
from cvhub.synthetic.citizen import SyntheticCitizen
from cvhub.synthetic.numbers import Numbers
from cvhub.synthetic.people import ASYLUM_GROUPS

TODAY = date(2026, 11, 22)
LISTS = default()
MOBILE = phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE
"""Denmark does not part them."""
WEIGHTS = (4, 3, 2, 7, 6, 5, 4, 3, 2, 1)

People = list[SyntheticCitizen]


@pytest.fixture(scope="module")
def people() -> People:
    return list(citizens(1, 3_000, today=TODAY))


def test_the_same_seed_gives_the_same_citizens(people: People) -> None:
    assert list(citizens(1, 3_000, today=TODAY)) == people
    assert list(citizens(1, 100, today=TODAY, start=500)) == people[500:600]
    assert list(citizens(2, 100, today=TODAY)) != people[:100]


def test_another_day_leaves_the_numbers_and_names_as_they_are(people: People) -> None:
    later = citizens(1, 200, today=TODAY + timedelta(days=400))
    assert [(c.person_number, c.cv_number, c.name) for c in later] == [
        (c.person_number, c.cv_number, c.name) for c in people[:200]
    ]


def test_citizens_come_one_by_one() -> None:
    assert next(citizens(1, 10**9, today=TODAY)).case == "plain"


@pytest.mark.slow
def test_numbers_are_unique(people: People) -> None:
    numbers = Numbers(7)
    assert len({numbers.born(index).person_number for index in range(100_000)}) == 100_000
    assert len({numbers.cv_number(index) for index in range(100_000)}) == 100_000
    assert [one.case for one in people if not one.cv_number] == ["no-cv-number"]


def _century(number: str) -> int:
    seventh, year = int(number[6]), int(number[4:6])
    return 1900 if seventh <= 3 or (seventh in {4, 9} and year > 36) else 2000


def test_person_numbers_say_the_birth_date_and_the_gender_and_are_nobodys(people: People) -> None:
    for one in people:
        number, birth = one.person_number, date.fromisoformat(one.citizen["dateOfBirth"])
        assert wire.is_person_number(number)
        assert number[:6] == birth.strftime("%d%m%y")
        assert birth.year // 100 * 100 == _century(number)
        assert (int(number[9]) % 2 == 0) == (one.citizen["gender"] == "Female")
        assert sum(w * int(d) for w, d in zip(WEIGHTS, number, strict=True)) % 11 != 0


def test_cv_numbers_can_be_integers(people: People) -> None:
    assert all(len(c.cv_number) == 8 and c.cv_number[0] in "123456789" for c in people if c.cv_number)


@pytest.mark.slow
def test_every_cv_is_a_valid_replace_cv_request(people: People) -> None:
    for one in people:
        if one.cv is None:
            assert one.cv_state is None
            continue
        request = wire.ReplaceCVRequest.from_json(json.dumps(one.cv))
        assert request.json_dict() == one.cv | {"ContactInformation": request.ContactInformation.json_dict()}
        assert wire.check_code_lists(request, LISTS) == []
        assert wire.unknown_taxonomy(request, LISTS) == []
        assert all(int(year) <= TODAY.year for year in _years(one.cv))


def _years(node: Any) -> list[str]:
    if isinstance(node, list):
        return [year for item in node for year in _years(item)]
    if isinstance(node, dict):
        own = [node[name] for name in ("Year", "LastExperience") if name in node]
        return own + [year for item in node.values() for year in _years(item)]
    return []


def test_every_citizen_is_what_the_intake_takes(people: People) -> None:
    for one in people:
        citizen = one.citizen
        assert 1 <= len(citizen["familyName"]) <= 50
        assert 1 <= len(citizen["givenName"]) <= 70
        assert citizen["contactGroup"] is None or citizen["contactGroup"] in LISTS.contact_groups
        assert citizen["address"]["postalCode"] in LISTS.postal_codes
        for relation in citizen["relations"]:
            assert LISTS.knows_organisation(relation["organisationType"], relation["organisationCode"])
            assert relation.get("to", "9999") >= relation["from"]
            if relation["organisationType"] == 4:
                assert LISTS.knows_organisation(relation["referredByType"], relation["referredByCode"])


def test_asylum_dates_are_for_the_groups_that_may_have_them(people: People) -> None:
    for one in people:
        if one.asylum is not None:
            read = wire.CreateAsylumCVTransitionRequest.from_json(json.dumps(one.asylum))
            assert read.AsylumCVTransitionDate <= read.CVEditEndDate
            assert (read.CVEditEndDate - read.AsylumCVTransitionDate).days <= 180
            assert one.citizen["contactGroup"] in ASYLUM_GROUPS


def test_people_live_where_their_postal_code_is(people: People) -> None:
    for one in people[len(CASES) :]:
        home = next(r for r in one.citizen["relations"] if r["organisationType"] == 7)
        postal = LISTS.postal_codes[one.citizen["address"]["postalCode"]]
        assert postal.municipality_code == home["organisationCode"]
        assert postal.city == one.citizen["address"]["postalArea"]


def test_the_population_has_plausible_shares_of_everything(people: People) -> None:
    people = people[len(CASES) :]
    states = Counter(one.cv_state for one in people)
    groups = Counter(one.citizen["contactGroup"] for one in people)
    assert states["ACTIVE"] > 0.8 * len(people)
    assert all(states[state] for state in ("ARCHIVED", "DISABLED", "LOCKED", "DELETED", None))
    assert set(groups) == {None, *LISTS.contact_groups}
    assert groups.most_common(1)[0][0] == 1
    assert 0 < sum(one.citizen["dead"] for one in people) < 0.03 * len(people)
    assert 0 < sum(one.citizen["addressProtected"] for one in people) < 0.03 * len(people)
    homes = Counter(one.citizen["relations"][0]["organisationCode"] for one in people)
    assert homes.most_common(1)[0][0] == "101"
    assert len(homes) > 80
    assert sum(one.citizen["gender"] == "Female" for one in people) == pytest.approx(len(people) / 2, rel=0.1)


def test_an_import_line_leaves_the_contact_data_out() -> None:
    one = citizen_of_case(1, "asylum-present", today=TODAY)
    line = one.import_line()
    assert set(line) == {"citizen", "cv", "cvState", "asylum"}
    assert line["cv"]["ContactInformation"] == {}
    assert one.cv is not None
    assert one.cv["ContactInformation"]


CAST = cast(1, today=TODAY)


def _relations(one: SyntheticCitizen, kind: int) -> list[tuple[str, int | None, int | None]]:
    def days(written: str | None) -> int | None:
        return None if written is None else (date.fromisoformat(written) - TODAY).days

    return [
        (r["organisationCode"], days(r["from"]), days(r.get("to")))
        for r in one.citizen["relations"]
        if r["organisationType"] == kind
    ]


def test_the_cast_has_every_case_and_can_be_picked_by_label(people: People) -> None:
    assert list(CAST) == list(CASES)
    assert all(citizen_of_case(1, case, today=TODAY) == one for case, one in CAST.items())
    assert all(one.case == "" for one in people[len(CASES) :])
    with pytest.raises(KeyError):
        citizen_of_case(1, "nobody", today=TODAY)


def test_the_plain_citizen_breaks_no_rule() -> None:
    plain = CAST["plain"]
    assert plain.cv_state == "ACTIVE"
    assert plain.citizen["contactGroup"] == 1
    assert plain.citizen["enrolled"]
    assert not plain.citizen["dead"] | plain.citizen["nameProtected"] | plain.citizen["addressProtected"]
    assert [r["organisationCode"] for r in plain.citizen["relations"]] == ["101", JOBCENTER, FUND]
    assert plain.asylum is None


@pytest.mark.parametrize(
    ("case", "state"),
    [
        ("archived", "ARCHIVED"),
        ("disabled", "DISABLED"),
        ("locked", "LOCKED"),
        ("deleted", "DELETED"),
        ("no-cv", None),
    ],
)
def test_a_case_has_a_cv_in_its_state(case: str, state: str | None) -> None:
    assert CAST[case].cv_state == state
    assert (CAST[case].cv is None) == (state is None)


def test_the_dead_and_the_protected_are_marked() -> None:
    assert CAST["dead"].citizen["dead"]
    assert CAST["protected-name"].citizen["nameProtected"]
    assert CAST["protected-address"].citizen["addressProtected"]
    assert not CAST["not-enrolled"].citizen["enrolled"]


@pytest.mark.parametrize("number", list(LISTS.contact_groups))
def test_each_contact_group_has_a_case(number: int) -> None:
    one = CAST[f"contact-group-{number}"]
    assert one.citizen["contactGroup"] == number
    assert bool(_relations(one, 1)) == (number in {1, 8, 23})


@pytest.mark.parametrize(
    ("case", "membership"),
    [
        ("previous-a-kasse-within-120-days", (FUND, -1_200, -60)),
        ("previous-a-kasse-on-day-120", (FUND, -1_200, -120)),
        ("previous-a-kasse-past-120-days", (FUND, -1_200, -121)),
        ("coming-a-kasse-within-120-days", (FUND, 60, None)),
        ("coming-a-kasse-past-120-days", (FUND, 121, None)),
    ],
)
def test_a_previous_or_coming_a_kasse_is_on_its_side_of_the_120_days(case: str, membership: Any) -> None:
    assert _relations(CAST[case], 1) == [membership]


def test_referrals_are_by_the_authority_of_their_case() -> None:
    for case, by_type, by_code in (("referred-by-jobcenter", 8, JOBCENTER), ("referred-by-a-kasse", 1, FUND)):
        referral = CAST[case].citizen["relations"][-1]
        assert referral["organisationCode"] == OTHER_ACTOR
        assert (referral["referredByType"], referral["referredByCode"]) == (by_type, by_code)
    assert _relations(CAST["referral-ended"], 4)[0][2] == -1


@pytest.mark.parametrize(
    ("case", "first", "last"),
    [("asylum-past", -120, -1), ("asylum-present", -30, 30), ("asylum-first-day", 0, 90), ("asylum-last-day", -90, 0), ("asylum-future", 2, 90)],
)  # fmt: skip
def test_an_asylum_window_lies_where_its_case_says(case: str, first: int, last: int) -> None:
    assert CAST[case].asylum == {
        "CVEditEndDate": str(TODAY + timedelta(days=last)),
        "AsylumCVTransitionDate": str(TODAY + timedelta(days=first)),
    }
    assert CAST[case].citizen["contactGroup"] == 26


def test_the_group_without_asylum_dates_has_none() -> None:
    assert CAST["asylum-no-dates"].asylum is None
    assert CAST["asylum-no-dates"].citizen["contactGroup"] == 26


def test_every_phone_number_is_one_that_a_citizen_may_save(people: People) -> None:
    written = [
        number
        for one in people
        for number in (one.cv or {}).get("ContactInformation", {}).get("PhoneNumber", [])
    ]
    read = [phonenumbers.parse(number, None) for number in written]
    assert len(read) > 100
    assert all(phonenumbers.is_valid_number(number) for number in read)
    assert {phonenumbers.number_type(number) for number in read} == {MOBILE}
