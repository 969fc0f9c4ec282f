"""The citizen as the source of the intake tells it."""

from datetime import date, timedelta
from random import Random
from typing import Final

from cv_contracts.codelists import PostalCode
from cvhub.synthetic.citizen import Json
from cvhub.synthetic.material import Family, Material, pick, wheel
from cvhub.synthetic.numbers import Born

A_KASSE, OTHER_ACTOR, MUNICIPALITY, JOBCENTER = 1, 4, 7, 8
OTHER_ACTORS: Final = tuple(f"9999990{n}" for n in range(1, 10))
"""CVR numbers that fail their check digit, so that they are nobody's."""
GROUP: Final = wheel(
    (
        (1, 50),
        (2, 16),
        (3, 4),
        (8, 5),
        (12, 8),
        (13, 5),
        (23, 1),
        (26, 3),
        (27, 1),
        (28, 1),
        (29, 1),
        (None, 5),
    )
)
FUND_GROUPS: Final = frozenset({1, 8, 23})
ASYLUM_GROUPS: Final = frozenset({3, 26, 27, 28, 29})
FLOORS: Final = ("", "", "", ", st.", ", 1. tv.", ", 1. th.", ", 2. tv.", ", 2. th.", ", 3. tv.", ", 4. th.")


def relation(kind: int, code: str, start: date, end: date | None = None) -> Json:
    """Write a relation to an authority; both dates are included."""
    written: Json = {"organisationType": kind, "organisationCode": code, "from": start.isoformat()}
    if end is not None:
        written["to"] = end.isoformat()
    return written


def referral(actor: str, by_type: int, by_code: str, start: date, end: date | None = None) -> Json:
    """Write a referral to an other actor by an authority."""
    return {
        **relation(OTHER_ACTOR, actor, start, end),
        "referredByType": by_type,
        "referredByCode": by_code,
    }


def address(rng: Random, material: Material, postal: PostalCode) -> Json:
    """Write an address in a town."""
    line = f"{pick(rng, material.streets)} {int(rng.random() * 180) + 1}{pick(rng, FLOORS)}"
    written: Json = {
        "countryCode": "DK",
        "addressLine": line,
        "postalCode": postal.code,
        "postalArea": postal.city,
    }
    if rng.random() < 0.02:
        written["coAddress"] = f"c/o {pick(rng, material.surname)}"
    return written


def person(rng: Random, material: Material, born: Born, cv_number: str, municipality: str) -> Json:
    """Write who the citizen is and where they live; no relations yet."""
    names = material.female if born.female else material.male
    citizen: Json = {
        "sourceVersion": 1,
        "personNumber": born.person_number,
        "cvNumber": cv_number,
        "familyName": pick(rng, material.surname),
        "givenName": pick(rng, names),
        "dateOfBirth": born.birth.isoformat(),
        "gender": "Female" if born.female else "Male",
        "address": address(rng, material, pick(rng, material.postal_codes[municipality])),
        "nameProtected": False,
        "addressProtected": False,
        "relations": [],
        "enrolled": True,
        "dead": False,
    }
    if rng.random() < 0.3:
        citizen["middleName"] = pick(rng, material.surname)
    return citizen


def ordinary_relations(
    rng: Random, family: Family, municipality: str, group: int | None, today: date
) -> list[Json]:
    """Write the relations that a citizen of this contact group has; all begin within the last two years."""

    def ago(most: int) -> date:
        return today - timedelta(days=1 + int(rng.random() * most))

    jobcenter = municipality + "00"
    relations = [relation(MUNICIPALITY, municipality, ago(700))]
    if group is not None:
        relations.append(relation(JOBCENTER, jobcenter, ago(500)))
    member = group in FUND_GROUPS
    fund = pick(rng, family.funds)
    if member:
        relations.append(relation(A_KASSE, fund, ago(700)))
    elif rng.random() < 0.15:
        end = ago(300)
        relations.append(relation(A_KASSE, fund, end - timedelta(days=300), end))
    if group is not None and rng.random() < 0.1:
        by_type, by_code = (A_KASSE, fund) if member and rng.random() < 0.4 else (JOBCENTER, jobcenter)
        relations.append(referral(pick(rng, OTHER_ACTORS), by_type, by_code, ago(300)))
    return relations
