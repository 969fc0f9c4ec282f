"""Which places lie in a circle, and how far from its middle."""

import pytest

from cv_search.geo import EARTH_KM, distance_km, inside
from cv_search.port import Circle

DEGREE = EARTH_KM * 3.141592653589793 / 180


def test_a_distance_is_along_the_surface() -> None:
    odense, aarhus = Circle(55.4038, 10.4024, 1.0), (56.1629, 10.2039)
    assert distance_km(odense, *aarhus) == pytest.approx(85.3, abs=0.3)
    assert distance_km(odense, 55.4038, 10.4024) == 0
    assert distance_km(Circle(0, 0, 1.0), 0, 180) == pytest.approx(180 * DEGREE)


@pytest.mark.parametrize("radius", [0.5, 40.0, 500.0])
def test_what_lies_north_or_south_just_within_the_radius_is_inside_and_just_beyond_is_not(
    radius: float,
) -> None:
    circle = Circle(55.0, 10.0, radius)
    within, beyond = 0.999 * radius / DEGREE, 1.001 * radius / DEGREE
    places = [(55.0 + within, 10.0), (55.0 + beyond, 10.0), (55.0 - within, 10.0), (55.0 - beyond, 10.0)]
    found = dict(inside(circle, places))
    assert found == {0: pytest.approx(0.999 * radius), 2: pytest.approx(0.999 * radius)}


def test_a_circle_without_a_radius_is_its_middle() -> None:
    assert dict(inside(Circle(55.0, 10.0, 0.0), [(55.0, 10.0), (55.0, 10.001)])) == {0: 0}
