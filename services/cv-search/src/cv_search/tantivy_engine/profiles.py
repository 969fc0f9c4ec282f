"""What the numbers of profiles stand for: the values of five groups of one CV, counted in one go."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import orjson

from cv_search.port import Dimension
from cv_search.tantivy_engine.fields import PROFILE_GROUPS


class Profiles:
    """The profiles of one index. In each group far fewer sets of values than profiles occur, and fewer values than sets."""

    def __init__(self) -> None:
        self._sets: list[dict[tuple[str, ...], int]] = [{} for _ in PROFILE_GROUPS]
        """By group: the number of each set of values."""
        self._of_profile: list[list[int]] = [[] for _ in PROFILE_GROUPS]
        """By group and profile: the number of its set."""

    def learn(self, names: Sequence[str]) -> None:
        """Take the names of profiles that are not known yet; the place of each is its number."""
        for name in names[len(self._of_profile[0]) :]:
            for values, sets, of_profile in zip(
                orjson.loads(name), self._sets, self._of_profile, strict=True
            ):
                of_profile.append(sets.setdefault(tuple(values), len(sets)))

    def counted(self, counts: Mapping[int, int]) -> dict[Dimension, dict[str, int]]:
        """Count by value what was counted by profile: first by set."""
        found: dict[Dimension, dict[str, int]] = {one: defaultdict(int) for one in PROFILE_GROUPS}
        for one, sets, of_profile in zip(PROFILE_GROUPS, self._sets, self._of_profile, strict=True):
            by_set = [0] * len(sets)
            for profile, count in counts.items():
                by_set[of_profile[profile]] += count
            for values, count in zip(sets, by_set, strict=True):
                for value in values if count else ():
                    found[one][value] += count
        return found
