"""Person numbers and CV numbers by index: no two alike, in no visible order."""

from datetime import date, timedelta
from math import gcd
from typing import Final, NamedTuple

FIRST_BIRTH: Final = date(1960, 1, 1)
DAYS: Final = (date(2006, 12, 31) - FIRST_BIRTH).days + 1
FIRST_SERIAL: Final = {19: 0, 20: 4_000}
"""Where the serial numbers of a century begin: the seventh digit tells it."""
PAIRS_A_DAY: Final = 2_000
CV_NUMBERS: Final = 90_000_000
_WEIGHTS: Final = (4, 3, 2, 7, 6, 5, 4, 3, 2, 1)


class Born(NamedTuple):
    """A person number with what it says."""

    person_number: str
    birth: date
    female: bool


class Numbers:
    """The numbers of one seed. The person numbers fail the modulus 11 check, so that they are nobody's."""

    def __init__(self, seed: int) -> None:
        self._people = _Shuffled(seed, DAYS * PAIRS_A_DAY)
        self._cvs = _Shuffled(seed + 1, CV_NUMBERS)

    def born(self, index: int) -> Born:
        pair, day = divmod(self._people.at(index), DAYS)
        birth = FIRST_BIRTH + timedelta(days=day)
        serial = FIRST_SERIAL[birth.year // 100] + pair // 2 * 4 + pair % 2
        prefix = f"{birth.day:02}{birth.month:02}{birth.year % 100:02}"
        number = f"{prefix}{serial:04}"
        if _passes_modulus_11(number):
            # Two numbers that differ by 2 cannot both pass.
            number = f"{prefix}{serial + 2:04}"
        return Born(number, birth, female=serial % 2 == 0)

    def cv_number(self, index: int) -> str:
        return str(10_000_000 + self._cvs.at(index))


class _Shuffled:
    """The numbers below `size` in an order of the seed's, each once: index times a factor that shares no divisor."""

    def __init__(self, seed: int, size: int) -> None:
        self._size = size
        self._offset = seed * 7_919 % size
        factor = size * 618_034 // 1_000_000 + seed % 1_000
        while gcd(factor, size) != 1:
            factor += 1
        self._factor = factor

    def at(self, index: int) -> int:
        if not 0 <= index < self._size:
            raise ValueError(f"there are numbers for {self._size} only")
        return (index * self._factor + self._offset) % self._size


def _passes_modulus_11(number: str) -> bool:
    return sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=True)) % 11 == 0
