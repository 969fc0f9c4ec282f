"""The feed's own routes in the description of the interface."""

from typing import Any

from cv_gateway.feed import FEED, FEED_ROUTES
from cv_gateway.openapi_query import query_parameters
from cv_gateway.queries import FEED_QUERIES

__all__ = ["feed_paths"]

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_EVENT: Json = {
    "type": "object",
    "description": "A CloudEvent. `id` is its position, `eventid` the MessageIdentifier of the write that made it.",
    "properties": {
        "specversion": {"const": "1.0"},
        "id": _TEXT,
        "source": _TEXT,
        "type": _TEXT,
        "subject": {"type": "string", "format": "uuid"},
        "time": {"type": "string", "format": "date-time"},
        "eventid": {"type": "string", "format": "uuid"},
        "arrived": {"type": "string", "format": "date-time"},
        "method": {"const": "DELETE"},
        "datacontenttype": _TEXT,
        "data": {
            "type": "object",
            "properties": {"version": {"type": "integer"}, "change": _TEXT, "cvNumber": _TEXT},
            "required": ["version"],
        },
    },
    "required": ["specversion", "id", "source", "type", "subject", "time", "eventid", "arrived"],
}
_ITEM: Json = {
    "type": "object",
    "properties": {
        "cvId": {"type": "string", "format": "uuid"},
        "cvNumber": {"type": ["string", "null"]},
        "version": {"type": "integer"},
        "change": {"type": ["string", "null"]},
    },
    "required": ["cvId", "cvNumber", "version", "change"],
}
_ANSWERS: dict[str, tuple[str, Json]] = {
    "Feed": ("application/cloudevents-batch+json", {"type": "array", "items": _EVENT}),
    "FeedSnapshot": (
        "application/json",
        {
            "type": "object",
            "properties": {
                "position": _TEXT,
                "next": {"type": ["string", "null"]},
                "items": {"type": "array", "items": _ITEM},
            },
            "required": ["position", "next", "items"],
        },
    ),
}
_ANEW: Json = {
    "lastEventId": {
        "type": "string",
        "description": "The position to go on from for who does not read the snapshot",
    },
    "snapshot": {"type": "string", "description": "The path of the snapshot"},
}
_MOVED: dict[str, dict[str, tuple[str, Json]]] = {
    "Feed": {
        "409": (
            "The feed was restored from a back-up and does not know the position: read the snapshot and follow from its position.",
            _ANEW,
        ),
        "410": ("The feed has begun anew: read the snapshot and follow from its position.", _ANEW),
    },
    "FeedSnapshot": {
        "409": (
            "The feed was restored from a back-up: begin the snapshot anew, without `after`.",
            _ANEW,
        ),
        "410": ("The feed has begun anew: begin the snapshot anew.", _ANEW),
    },
}


def feed_paths(callers: list[Json], refusals: Json, problem: Json) -> dict[str, Json]:
    """Give the paths; `callers` are the headers that say who calls, `refusals` the answers of method 9."""
    return {
        route.path: {
            "get": {
                "operationId": route.name,
                "summary": route.name,
                "description": f"Scope `{route.scope}`. {route.note}",
                "tags": ["Change feed"],
                "parameters": [*callers, *query_parameters(FEED_QUERIES[route.name])],
                "responses": {
                    "200": _answer(route.name),
                    **dict(sorted({**refusals, **_moved(route.name, problem)}.items())),
                },
            }
        }
        for route in FEED_ROUTES
    }


def _moved(name: str, problem: Json) -> Json:
    answers: Json = {}
    for status, (text, members) in _MOVED[name].items():
        schema = {"allOf": [problem, {"type": "object", "properties": members, "required": list(members)}]}
        answers[status] = {"description": text, "content": {"application/problem+json": {"schema": schema}}}
    return answers


def _answer(name: str) -> Json:
    media, schema = _ANSWERS[name]
    answer: Json = {"description": "Done", "content": {media: {"schema": schema}}}
    if name == FEED.name:
        described = {
            "x-feed-from": "The position that the page begins after",
            "x-feed-to": "The position up to which it has everything",
            "x-feed-more": "`true` where the feed has more after it already, though perhaps nothing that you see or asked for",
        }
        answer["headers"] = {
            header: {"description": text, "schema": _TEXT} for header, text in described.items()
        }
    return answer
