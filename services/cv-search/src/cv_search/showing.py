"""A person as SearchCVText shows one, and the groups of a result."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from cv_search.port import GROUPS, Count, Dimension, Person

__all__ = ["cut_groups", "groups_json", "shown_json"]

Groups = Mapping[Dimension, Sequence[Count]]

_ELEMENTS: Final = {
    "CVNumber": "cv_number",
    "FirstName": "first_name",
    "LastName": "last_name",
    "PostalCode": "postal_code",
    "City": "city",
    "MaxEducationName": "max_education_name",
    "OccupationNames": "occupation_names",
    "GeoPointLat": "latitude",
    "GeoPointLon": "longitude",
}


def shown_json(person: Person) -> bytes:
    """Give the JSON of CVPerson."""
    elements: dict[str, Any] = {
        "Municipality": {
            "MunicipalityCode": person.municipality_code,
            "MunicipalityName": person.municipality_name,
        }
    }
    for element, name in _ELEMENTS.items():
        if (value := getattr(person, name)) is not None:
            elements[element] = value
    return orjson.dumps(elements)


def groups_json(groups: Groups) -> bytes:
    """Give the twelve groups as the members of a JSON object, without its braces."""
    members = {
        dimension.value: [{"Name": one.name, "Count": one.count} for one in groups.get(dimension, ())]
        for dimension in GROUPS
    }
    return orjson.dumps(members)[1:-1]


def cut_groups(groups: bytes, limit: int) -> bytes:
    """Give the same with at most `limit` values of each group."""
    members = orjson.loads(b"{" + groups + b"}")
    if all(len(values) <= limit for values in members.values()):
        return groups
    return orjson.dumps({name: values[:limit] for name, values in members.items()})[1:-1]
