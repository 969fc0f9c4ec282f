"""The event log as an AsyncAPI 3.0 document, made from the topics and the event models."""

from typing import Any

from cv_contracts.envelope import CONTENT_TYPE, SPEC_VERSION
from cv_contracts.event import Event
from cv_contracts.schemas import schema_of
from cv_contracts.topics import TOPICS, Topic, is_public

_BINDING = "0.5.0"


def document() -> dict[str, Any]:
    """Give the whole document: a channel per topic, an operation per producer and follower."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "cvhub events",
            "version": "1.0.0",
            "description": "Thin CloudEvents 1.0 in binary mode. They hold random ids and no data about a person; "
            "a reader asks the owner for the content.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {name: operation for topic in TOPICS for name, operation in _operations(topic).items()},
        "components": {
            "messages": {event.__name__: _message(topic, event) for topic in TOPICS for event in topic.events}
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. Records of one key stay in order.",
        "messages": {
            event.__name__: {"$ref": f"#/components/messages/{event.__name__}"} for event in topic.events
        },
        "bindings": {"kafka": _topic_binding(topic)},
    }


def _topic_binding(topic: Topic) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "partitions": topic.partitions,
        "topicConfiguration": {
            "cleanup.policy": topic.cleanup_policy.split(","),
            "retention.ms": int(topic.config["retention.ms"]),
            "max.message.bytes": int(topic.config["max.message.bytes"]),
        },
        "bindingVersion": _BINDING,
    }


def _operations(topic: Topic) -> dict[str, dict[str, Any]]:
    send = {f"{topic.producer}.send.{topic.name}": _operation(topic, "send")}
    receive = {
        f"{follower}.receive.{topic.name}": _operation(topic, "receive") | _group(follower)
        for follower in topic.followers
    }
    return send | receive


def _operation(topic: Topic, action: str) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{event.__name__}"} for event in topic.events],
    }


def _group(follower: str) -> dict[str, Any]:
    """Say which groups a follower's Kafka rights allow: its name, or that and what a dot divides from it."""
    group = {"type": "string", "pattern": rf"^{follower}(\..+)?$"}
    return {"bindings": {"kafka": {"groupId": group, "bindingVersion": _BINDING}}}


def _message(topic: Topic, event: type[Event]) -> dict[str, Any]:
    schema = schema_of(event)
    return {
        "name": event.TYPE,
        "title": event.__name__,
        "summary": schema["description"],
        "contentType": CONTENT_TYPE,
        "tags": [{"name": "in the change feed" if is_public(event) else "internal"}],
        "headers": _headers(topic, event),
        "payload": {name: value for name, value in schema.items() if not name.startswith("$")},
        "bindings": {"kafka": {"key": {"type": "string", "format": "uuid"}, "bindingVersion": _BINDING}},
    }


def _headers(topic: Topic, event: type[Event]) -> dict[str, Any]:
    uuid = {"type": "string", "format": "uuid"}
    properties = {
        "ce_specversion": {"const": SPEC_VERSION},
        "ce_id": uuid,
        "ce_source": {"const": topic.producer},
        "ce_type": {"const": event.TYPE},
        "ce_subject": uuid,
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"const": CONTENT_TYPE},
        "ce_traceparent": {"type": "string"},
    }
    required = [name for name in properties if name not in {"content-type", "ce_traceparent"}]
    return {"type": "object", "properties": properties, "required": required}
