"""The feed's own routes in the description of the interface: enough to follow by, without docs/feed.md."""

from typing import Any, Final, get_args

from cv_contracts.topics import EVENT_TYPES, is_public
from cv_gateway.feed import FEED, FEED_ROUTES
from cv_gateway.openapi_query import query_parameters
from cv_gateway.queries import FEED_QUERIES

__all__ = ["CHANGES", "feed_paths", "feed_schemas"]

Json = dict[str, Any]

HANDED_OVER: Final = "dk.cvhub.change-feed.citizen-handed-over.v1"


def _changes(type_: str) -> tuple[str, ...]:
    change = EVENT_TYPES[type_].model_fields.get("change")
    return () if change is None else get_args(change.annotation)


CHANGES: Final = {name: _changes(name) for name, event in EVENT_TYPES.items() if is_public(event)} | {
    HANDED_OVER: ("handed-over", "left", "came")
}
"""Each `type` that an event may have, with each `change` of it; none where the type says it all."""

_KINDS: Final = ". ".join(
    f"`{name}`" + (": " + ", ".join(f"`{one}`" for one in changes) if changes else "")
    for name, changes in CHANGES.items()
)
_ANY: Final = "More may be added: pass over those you do not know"


def _text(description: str, **more: Any) -> Json:
    return {"type": "string", "description": description, **more}


def _of(properties: Json, description: str, optional: frozenset[str] = frozenset()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": description, "properties": properties, "required": required}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_SUBJECT: Final = "The random id of the CV, the same for ever: know the CV by it"
_SCHEMAS: Final[Json] = {
    "FeedEvent": _of(
        {
            "specversion": {"const": "1.0", "description": "The version of CloudEvents"},
            "id": _text("The position of the event: the page after it is asked for by it"),
            "source": _text("The service that says it", examples=["/cv-registry"]),
            "type": _text(f"What has happened. {_ANY}", examples=list(CHANGES)),
            "subject": _text(_SUBJECT, format="uuid"),
            "time": _text("When it happened. Events stand in the order of `arrived`", format="date-time"),
            "eventid": _text(
                "The MessageIdentifier of the write that made the event, the same where it comes again",
                format="uuid",
            ),
            "arrived": _text("When the event arrived in the feed", format="date-time"),
            "method": {
                "const": "DELETE",
                "description": "There where the citizen was erased: delete what you have about the subject. It is final",
            },
            "datacontenttype": _text("`application/json`, there where `data` is"),
            "data": {**_ref("FeedEventData"), "description": "There unless the citizen was erased"},
        },
        "A CloudEvent about one CV or its citizen. With `change` `left` of a hand-over the citizen is yours no more, with `came` "
        "it is from now on: fetch the CV.",
        frozenset({"method", "datacontenttype", "data"}),
    ),
    "FeedEventData": _of(
        {
            "version": {
                "type": "integer",
                "format": "int64",
                "description": "The version of what the type is about: of the CV, its status, its letters, the citizen, the "
                "contact data, the transition. Where you have a newer one of the same subject and type, pass over the older "
                "event, but for hand-overs",
            },
            "change": _text(
                f"What has happened where the type alone does not say it. {_ANY}. By type: {_KINDS}. `merged` is reserved and never told",
                examples=sorted({one for changes in CHANGES.values() for one in changes}),
            ),
            "cvNumber": _text(
                "The CV number when the event arrived; not there where it is withdrawn. `left` and `deleted` have the one before"
            ),
        },
        "What the event says; the CV itself is fetched.",
        frozenset({"change", "cvNumber"}),
    ),
    "FeedSnapshot": _of(
        {
            "position": _text("Where to follow from once all pages are read; the same on all of them"),
            "next": {
                "type": ["string", "null"],
                "description": "The `after` of the next page; null on the last one",
            },
            "items": {
                "type": "array",
                "items": _ref("FeedSnapshotItem"),
                "description": "CVs that you may see, by their ids",
            },
        },
        "A page of the CVs that may be seen, as of one position.",
    ),
    "FeedSnapshotItem": _of(
        {
            "cvId": _text(_SUBJECT + "; the `subject` of its events", format="uuid"),
            "cvNumber": {
                "type": ["string", "null"],
                "description": "The CV number; null where it is withdrawn",
            },
            "version": {
                "type": "integer",
                "format": "int64",
                "description": "The version of the CV, as in its `cv-changed` events",
            },
            "change": {
                "type": ["string", "null"],
                "description": "The `change` of the newest `cv-changed` event",
            },
        },
        "A CV as of the snapshot's position.",
    ),
    "FeedMoved": {
        "description": "The position is of a feed that was lost or restored.",
        "allOf": [
            _ref("Problem"),
            _of(
                {
                    "lastEventId": _text("The position to go on from for who does not read the snapshot"),
                    "snapshot": _text("The path of the snapshot"),
                },
                "Where to go on",
            ),
        ],
    },
}

_AT = tuple(
    f"cA9sKx56VEwdmzpdLo96bEAABmDa{end}"
    for end in ("ilGIAJXtNtC8cZCYfsygWVy0GCs", "jeUqWMjf4eLvPYDU3-Z1P71RK4I")
)
_CV = "0f6c2b1e-7a54-4c1d-9b3a-5d2e8f7a6c40"
_VERSION = 1795341600000000
_EVENT: Json = {
    "specversion": "1.0",
    "id": _AT[0],
    "source": "/cv-registry",
    "type": "dk.cvhub.cv-registry.cv-changed.v1",
    "subject": _CV,
    "time": "2026-11-22T10:00:00.000000Z",
    "eventid": "5b1e0c52-88f1-4f43-9d57-2a3a6be1c003",
    "arrived": "2026-11-22T10:00:00.012000Z",
}
_PAGE: list[Json] = [
    {
        **_EVENT,
        "datacontenttype": "application/json",
        "data": {"version": _VERSION, "change": "replaced", "cvNumber": "12345678"},
    },
    {
        **_EVENT,
        "id": _AT[1],
        "subject": "8d4e2a6b-1c3f-4e5d-a7b8-c9d0e1f2a3b4",
        "time": "2026-11-22T10:01:00.000000Z",
        "eventid": "c7d1f0a4-3b52-4e86-9f0d-6a1b2c3d4e5f",
        "arrived": "2026-11-22T10:01:00.007000Z",
        "method": "DELETE",
    },
]
_SNAPSHOT: Json = {
    "position": _AT[0],
    "next": None,
    "items": [{"cvId": _CV, "cvNumber": "12345678", "version": _VERSION, "change": "replaced"}],
}
_ANSWERS: dict[str, tuple[str, Json, Any]] = {
    "Feed": ("application/cloudevents-batch+json", {"type": "array", "items": _ref("FeedEvent")}, _PAGE),
    "FeedSnapshot": ("application/json", _ref("FeedSnapshot"), _SNAPSHOT),
}
_WHY: dict[str, tuple[str, str, str]] = {
    "409": (
        "The feed was restored from a back-up and does not know the position",
        "feed-restored",
        "The position is beyond what the feed knows",
    ),
    "410": ("The feed has begun anew", "feed-epoch-over", "The position is of an earlier feed"),
}
_DO: dict[str, str] = {
    "Feed": "read the snapshot and follow from its position.",
    "FeedSnapshot": "begin the snapshot anew, without `after`.",
}


def feed_schemas() -> Json:
    """Give the named schemas of the answers."""
    return _SCHEMAS


def feed_paths(callers: list[Json], refusals: Json) -> dict[str, Json]:
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
                    **dict(sorted({**refusals, **_moved(route.name)}.items())),
                },
            }
        }
        for route in FEED_ROUTES
    }


def _moved(name: str) -> Json:
    answers: Json = {}
    for status, (text, kind, title) in _WHY.items():
        told = f"{text}: {_DO[name]}"
        example = {
            "type": f"urn:cvhub:problem:{kind}",
            "title": title,
            "status": int(status),
            "detail": told,
            "snapshot": "/v1/feed/cv/snapshot",
            "lastEventId": _AT[0],
        }
        media = {"schema": _ref("FeedMoved"), "examples": {kind: {"value": example}}}
        answers[status] = {"description": told, "content": {"application/problem+json": media}}
    return answers


def _answer(name: str) -> Json:
    media, schema, example = _ANSWERS[name]
    content = {media: {"schema": schema, "examples": {"page": {"value": example}}}}
    answer: Json = {"description": "Done", "content": content}
    if name == FEED.name:
        described = {
            "x-feed-from": "The position that the page begins after: the one asked from",
            "x-feed-to": "The position up to which it has everything: the `lastEventId` of the next call",
            "x-feed-more": "`true` where the feed has more after it already, though perhaps nothing that you see or asked for",
        }
        answer["headers"] = {
            header: {"description": text, "schema": {"type": "string"}} for header, text in described.items()
        }
    return answer
