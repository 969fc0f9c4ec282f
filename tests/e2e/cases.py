"""The citizens of the cast by their case."""

from cvhub.people import SEED
from cvhub.synthetic import CASES, SyntheticCitizen, citizen_of_case


def case(label: str) -> SyntheticCitizen:
    return citizen_of_case(SEED, label)


def number(label: str) -> str:
    return case(label).person_number


def meant(text: str) -> str:
    """Give the person number of a case; anything else means itself."""
    return number(text) if text in CASES else text
