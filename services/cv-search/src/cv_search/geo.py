"""Distances on the globe."""

from collections.abc import Iterator, Sequence
from math import asin, cos, radians, sin, sqrt
from typing import Final

from cv_search.port import Circle

EARTH_KM: Final = 6371.0088
"""Mean radius."""
DEGREE_KM: Final = 111.0
"""Less than a degree of latitude is long."""


def distance_km(circle: Circle, latitude: float, longitude: float) -> float:
    """Give the distance from the middle of a circle, along the surface."""
    north, other = radians(circle.latitude), radians(latitude)
    half = (
        sin((other - north) / 2) ** 2
        + cos(north) * cos(other) * sin(radians(longitude - circle.longitude) / 2) ** 2
    )
    return 2 * EARTH_KM * asin(min(1.0, sqrt(half)))


def inside(circle: Circle, places: Sequence[tuple[float, float]]) -> Iterator[tuple[int, float]]:
    """Give the places (latitude, longitude) that lie in a circle, by their index, and how far from its middle."""
    near, middle = circle.radius_km / DEGREE_KM, circle.latitude
    for number, (latitude, longitude) in enumerate(places):
        if abs(latitude - middle) <= near:
            away = distance_km(circle, latitude, longitude)
            if away <= circle.radius_km:
                yield number, away
