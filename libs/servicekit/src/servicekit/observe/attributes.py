"""What may be said about a span or a measurement: a closed list of names, so that no person can slip in."""

from collections.abc import Mapping
from typing import Literal, get_args

from servicekit.observe.redaction import mask

AttributeName = Literal[
    "error.type",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "messaging.batch.message_count",
    "messaging.consumer.group.name",
    "messaging.destination.name",
    "messaging.destination.partition.id",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.system",
    "outcome",
    "peer.service",
]
"""The only attributes a span or a metric may have: none of them can say anything about a person."""

ALLOWED_ATTRIBUTES: frozenset[str] = frozenset(get_args(AttributeName))
Attributes = Mapping[AttributeName, str | int]


def allowed(attributes: Mapping[AttributeName, str | int]) -> dict[str, str | int]:
    """Drop what is not on the list of names, and mask what is, should somebody have put a person or a CV number into it."""
    return {name: _masked(value) for name, value in attributes.items() if name in ALLOWED_ATTRIBUTES}


def _masked(value: str | int) -> str | int:
    # Person and CV numbers are whole numbers in some places; nothing else that may be said has so many digits.
    masked = mask(str(value))
    return value if masked == str(value) else masked
