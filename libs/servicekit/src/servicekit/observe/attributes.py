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
    """Drop what is not on the list of names, and mask what is, should somebody have put a person into it."""
    return {
        name: mask(value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if name in ALLOWED_ATTRIBUTES
    }
