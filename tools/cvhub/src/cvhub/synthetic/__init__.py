"""Citizens that do not exist, the same ones for the same seed: for the local stack, tests, drills and benchmarks."""

from cvhub.synthetic.cast import CASES, FUND, JOBCENTER, MUNICIPALITY, OTHER_ACTOR
from cvhub.synthetic.citizen import SyntheticCitizen
from cvhub.synthetic.generator import cast, citizen_of_case, citizens

__all__ = [
    "CASES",
    "FUND",
    "JOBCENTER",
    "MUNICIPALITY",
    "OTHER_ACTOR",
    "SyntheticCitizen",
    "cast",
    "citizen_of_case",
    "citizens",
]
