"""The fixed cast: one citizen for every rule, by label. All belong to the same authorities unless the label says no."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from cvhub.synthetic import people
from cvhub.synthetic.citizen import CvState, SyntheticCitizen
from cvhub.synthetic.people import referral, relation

MUNICIPALITY: Final = "101"
JOBCENTER: Final = "10100"
FUND: Final = "53"
OTHER_FUND: Final = "73"
OTHER_MUNICIPALITY: Final = "751"
OTHER_ACTOR: Final = people.OTHER_ACTORS[0]


@dataclass(frozen=True, slots=True)
class Days:
    """Dates around today."""

    today: date

    def ago(self, days: int) -> date:
        return self.today - timedelta(days=days)

    def ahead(self, days: int) -> date:
        return self.today + timedelta(days=days)


Change = Callable[[SyntheticCitizen, Days], None]


def ordinary(one: SyntheticCitizen, days: Days) -> None:
    """Make a living member of the fund in contact group 1 with an active CV; every case changes this."""
    one.citizen["contactGroup"] = 1
    one.citizen["relations"] = [
        relation(people.MUNICIPALITY, MUNICIPALITY, days.ago(3_000)),
        relation(people.JOBCENTER, JOBCENTER, days.ago(400)),
        relation(people.A_KASSE, FUND, days.ago(1_200)),
    ]
    one.cv_state = "ACTIVE"


def _nothing(one: SyntheticCitizen, days: Days) -> None:
    """Leave the ordinary citizen as it is."""


def _with(**values: object) -> Change:
    def change(one: SyntheticCitizen, _days: Days) -> None:
        one.citizen.update(values)

    return change


def _cv(state: CvState) -> Change:
    def change(one: SyntheticCitizen, _days: Days) -> None:
        one.cv_state = state

    return change


def _no_cv(one: SyntheticCitizen, _days: Days) -> None:
    one.cv, one.cv_state = None, None


def _no_cv_number(one: SyntheticCitizen, days: Days) -> None:
    _no_cv(one, days)
    del one.citizen["cvNumber"]
    one.citizen["cvNumberWithdrawn"] = True


def _no_job_target(one: SyntheticCitizen, _days: Days) -> None:
    if one.cv is not None:
        one.cv["JobTargetCollection"] = []


def _group(number: int | None) -> Change:
    def change(one: SyntheticCitizen, days: Days) -> None:
        one.citizen["contactGroup"] = number
        if number not in people.FUND_GROUPS:
            _leave(people.A_KASSE)(one, days)
        if number is None:
            one.citizen["enrolled"] = False

    return change


def _leave(*kinds: int) -> Change:
    def change(one: SyntheticCitizen, _days: Days) -> None:
        kept = [r for r in one.citizen["relations"] if r["organisationType"] not in kinds]
        one.citizen["relations"] = kept

    return change


def _fund(code: str, start: int, end: int | None) -> Change:
    """Replace the fund by a membership from and until so many days from today (negative: ago)."""

    def change(one: SyntheticCitizen, days: Days) -> None:
        _leave(people.A_KASSE)(one, days)
        until = None if end is None else days.ahead(end)
        one.citizen["relations"].append(relation(people.A_KASSE, code, days.ahead(start), until))

    return change


def _changed_fund(one: SyntheticCitizen, days: Days) -> None:
    _fund(OTHER_FUND, -30, None)(one, days)
    one.citizen["relations"].append(relation(people.A_KASSE, FUND, days.ago(1_200), days.ago(31)))


def _referred(by_type: int, by_code: str, end: int | None = None) -> Change:
    def change(one: SyntheticCitizen, days: Days) -> None:
        until = None if end is None else days.ahead(end)
        one.citizen["relations"].append(referral(OTHER_ACTOR, by_type, by_code, days.ago(90), until))

    return change


def _moved(one: SyntheticCitizen, days: Days) -> None:
    one.citizen["relations"] = [
        relation(people.MUNICIPALITY, MUNICIPALITY, days.ago(3_000), days.ago(20)),
        relation(people.JOBCENTER, JOBCENTER, days.ago(400), days.ago(20)),
        relation(people.MUNICIPALITY, OTHER_MUNICIPALITY, days.ago(19)),
        relation(people.JOBCENTER, OTHER_MUNICIPALITY + "00", days.ago(19)),
    ]


def _asylum(start: int, end: int) -> Change:
    """Put the citizen into group 26 with a window of so many days from today (negative: ago)."""

    def change(one: SyntheticCitizen, days: Days) -> None:
        _group(26)(one, days)
        one.asylum = {
            "CVEditEndDate": days.ahead(end).isoformat(),
            "AsylumCVTransitionDate": days.ahead(start).isoformat(),
        }

    return change


CASES: Final[dict[str, Change]] = {
    "plain": _nothing,
    "no-cv": _no_cv,
    "no-cv-number": _no_cv_number,
    "no-job-target": _no_job_target,
    "archived": _cv("ARCHIVED"),
    "disabled": _cv("DISABLED"),
    "locked": _cv("LOCKED"),
    "deleted": _cv("DELETED"),
    "dead": _with(dead=True, enrolled=False),
    "protected-name": _with(nameProtected=True),
    "protected-address": _with(addressProtected=True),
    "protected-both": _with(nameProtected=True, addressProtected=True),
    "not-enrolled": _with(enrolled=False),
    "contact-group-1": _group(1),
    "contact-group-2": _group(2),
    "contact-group-3": _group(3),
    "contact-group-8": _group(8),
    "contact-group-12": _group(12),
    "contact-group-13": _group(13),
    "contact-group-23": _group(23),
    "contact-group-26": _group(26),
    "contact-group-27": _group(27),
    "contact-group-28": _group(28),
    "contact-group-29": _group(29),
    "no-contact-group": _group(None),
    "no-relations": _leave(people.A_KASSE, people.JOBCENTER, people.MUNICIPALITY),
    "municipality-only": _leave(people.A_KASSE, people.JOBCENTER),
    "moved-away": _moved,
    "no-a-kasse": _leave(people.A_KASSE),
    "other-a-kasse": _fund(OTHER_FUND, -1_200, None),
    "previous-a-kasse-within-120-days": _fund(FUND, -1_200, -60),
    "previous-a-kasse-on-day-120": _fund(FUND, -1_200, -120),
    "previous-a-kasse-past-120-days": _fund(FUND, -1_200, -121),
    "coming-a-kasse-within-120-days": _fund(FUND, 60, None),
    "coming-a-kasse-past-120-days": _fund(FUND, 121, None),
    "changed-a-kasse": _changed_fund,
    "referred-by-jobcenter": _referred(people.JOBCENTER, JOBCENTER),
    "referred-by-a-kasse": _referred(people.A_KASSE, FUND),
    "referral-ended": _referred(people.JOBCENTER, JOBCENTER, -1),
    "asylum-past": _asylum(-120, -1),
    "asylum-present": _asylum(-30, 30),
    "asylum-first-day": _asylum(0, 90),
    "asylum-last-day": _asylum(-90, 0),
    "asylum-future": _asylum(2, 90),
    "asylum-no-dates": _group(26),
}
