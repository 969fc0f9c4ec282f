"""The stream of citizens: first the cast, then a population with plausible shares of everything."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

from cvhub.danish_time import DANISH
from cvhub.synthetic.cast import CASES, MUNICIPALITY, Days, ordinary
from cvhub.synthetic.citizen import CvState, Json, SyntheticCitizen
from cvhub.synthetic.curriculum import Curriculum
from cvhub.synthetic.material import Material, material, pick, wheel
from cvhub.synthetic.numbers import Numbers
from cvhub.synthetic.people import ASYLUM_GROUPS, GROUP, ordinary_relations, person

LABELS: Final = tuple(CASES)
STATE: Final[list[CvState]] = wheel(
    (("ACTIVE", 960), ("ARCHIVED", 20), ("DISABLED", 10), ("LOCKED", 3), ("DELETED", 7))
)
FIRST_MOBILE, MOBILES = 26_000_000, 3_000_000
"""All of them are mobile numbers in Denmark; of those before and after, some are not given to anybody."""
_SEED_STEP: Final = 1 << 40


def citizens(
    seed: int, count: int, *, today: date | None = None, start: int = 0
) -> Iterator[SyntheticCitizen]:
    """Give the citizens from index `start`; each depends on the seed, its index and today alone."""
    writer = _Writer(seed, today or datetime.now(DANISH).date())
    return (writer.citizen(index) for index in range(start, start + count))


def cast(seed: int, *, today: date | None = None) -> dict[str, SyntheticCitizen]:
    """Give the fixed cast by label."""
    return {one.case: one for one in citizens(seed, len(LABELS), today=today)}


def citizen_of_case(seed: int, case: str, *, today: date | None = None) -> SyntheticCitizen:
    """Give one member of the cast; KeyError if there is no such case."""
    if case not in CASES:
        raise KeyError(case)
    return next(citizens(seed, 1, today=today, start=LABELS.index(case)))


class _Writer:
    def __init__(self, seed: int, today: date) -> None:
        self._seed = seed
        self._today = today
        self._numbers = Numbers(seed)
        self._material: Material = material()
        self._rng = Random()  # noqa: S311 - nothing here is a secret

    def citizen(self, index: int) -> SyntheticCitizen:
        rng, stuff = self._rng, self._material
        rng.seed(self._seed * _SEED_STEP + index)
        case = LABELS[index] if index < len(LABELS) else ""
        born = self._numbers.born(index)
        municipality = MUNICIPALITY if case else pick(rng, stuff.municipality)
        written = person(rng, stuff, born, self._numbers.cv_number(index), municipality)
        family = pick(rng, stuff.family)
        cv = Curriculum(rng, stuff, family, born.birth, self._today).body(self._contact(index))
        one = SyntheticCitizen(index, case, written, cv, "ACTIVE", None)
        if case:
            days = Days(self._today)
            ordinary(one, days)
            CASES[case](one, days)
        else:
            group = pick(rng, GROUP)
            written["contactGroup"] = group
            written["relations"] = ordinary_relations(rng, family, municipality, group, self._today)
            self._vary(one, group)
        return one

    def _contact(self, index: int) -> Json:
        rng = self._rng
        contact: Json = {}
        if rng.random() < 0.9:
            contact["E-mail"] = f"borger{index}@example.org"
        if rng.random() < 0.95:
            contact["PhoneNumber"] = [f"+45{FIRST_MOBILE + int(rng.random() * MOBILES)}"]
        return contact

    def _vary(self, one: SyntheticCitizen, group: int | None) -> None:
        """Let some be dead, protected, not enrolled, without a CV or with one in another state."""
        rng = self._rng
        citizen = one.citizen
        citizen["dead"] = rng.random() < 0.01
        citizen["nameProtected"] = rng.random() < 0.005
        citizen["addressProtected"] = rng.random() < 0.01
        citizen["enrolled"] = not citizen["dead"] and rng.random() < (0.9 if group else 0.1)
        if rng.random() < 0.08:
            one.cv, one.cv_state = None, None
        else:
            one.cv_state = pick(rng, STATE)
        if group in ASYLUM_GROUPS and rng.random() < 0.7:
            first = self._today + timedelta(days=int(rng.random() * 360) - 240)
            last = first + timedelta(days=30 + int(rng.random() * 150))
            one.asylum = {"CVEditEndDate": last.isoformat(), "AsylumCVTransitionDate": first.isoformat()}
