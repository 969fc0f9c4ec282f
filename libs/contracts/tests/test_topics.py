"""The topic table: its names, its owners, the rights that follow from it, against the services of the design."""

import re

import pytest

from cv_contracts.events.cv_registry import CitizenHeartbeat
from cv_contracts.topics import (
    EVENT_TYPES,
    SERVICES,
    TOPIC_BY_NAME,
    TOPICS,
    Topic,
    is_public,
    rights,
    topic_of,
)

PUBLISHES = {
    "cv-registry": {"citizen-changed", "cv-changed", "account-letter-sent", "asylum-transition-set"},
    "cv-status": {"status-set"},
    "contact-verification": {
        "contact-saved",
        "contact-verified",
        "verification-code-requested",
        "contact-status-saved",
    },
}
FOLLOWS = {
    "cv-registry": {"cv-status.status-set", "contact-verification.contact-saved"},
    "cv-status": {"cv-registry.citizen-changed"},
    "contact-verification": {"cv-registry.citizen-changed", "cv-registry.cv-changed"},
    "cv-search": {"cv-registry.cv-changed", "cv-status.status-set", "cv-registry.citizen-changed"},
    "pdf-renderer": {"cv-status.status-set", "cv-registry.citizen-changed"},
    "change-feed": {topic.name for topic in TOPICS if topic.public},
    "gateway": set[str](),
}
PART = r"[a-z0-9]+(-[a-z0-9]+)*"
each_topic = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


@each_topic
def test_a_name_is_the_owner_then_the_fact(topic: Topic) -> None:
    assert re.fullmatch(rf"{PART}\.{PART}", topic.name)
    assert topic.name.partition(".")[0] == topic.producer


@each_topic
def test_an_event_type_names_its_topic_and_its_version(topic: Topic) -> None:
    for event in topic.events:
        assert re.fullmatch(rf"dk\.cvhub\.{PART}\.{PART}\.v[1-9][0-9]*", event.TYPE)
        assert event.TYPE.split(".")[2] == topic.producer
    assert f"dk.cvhub.{topic.name}.v1" == topic.events[0].TYPE


@each_topic
def test_producer_and_followers_are_services_and_nobody_follows_themselves(topic: Topic) -> None:
    assert topic.producer in SERVICES
    assert set(topic.followers) <= set(SERVICES) - {topic.producer}
    assert len(set(topic.followers)) == len(topic.followers)


@each_topic
def test_every_topic_has_six_partitions_and_says_how_long_records_stay_by_the_brokers_clock(
    topic: Topic,
) -> None:
    assert topic.partitions == 6
    assert topic.config == {
        "cleanup.policy": "delete",
        "retention.ms": "2592000000",
        "max.message.bytes": "1000000",
        "message.timestamp.type": "LogAppendTime",
    }


def test_names_and_event_types_are_used_once() -> None:
    assert len(TOPIC_BY_NAME) == len(TOPICS)
    assert len(EVENT_TYPES) == sum(len(topic.events) for topic in TOPICS)


def test_names_do_not_collide_in_kafka_metrics() -> None:
    assert len({topic.name.replace(".", "_") for topic in TOPICS}) == len(TOPICS)


@pytest.mark.parametrize("service", SERVICES)
def test_a_principal_may_write_what_it_publishes_and_read_what_it_follows(service: str) -> None:
    assert rights(service).writes == {f"{service}.{fact}" for fact in PUBLISHES.get(service, ())}
    assert rights(service).reads == FOLLOWS[service]


def test_a_stranger_has_no_rights_to_derive() -> None:
    with pytest.raises(ValueError, match="not a service"):
        rights("somebody")


def test_everything_but_the_heartbeat_goes_into_the_feed() -> None:
    assert {event for event in EVENT_TYPES.values() if not is_public(event)} == {CitizenHeartbeat}


def test_only_the_citizens_topic_carries_heartbeats() -> None:
    assert [topic.name for topic in TOPICS if topic.heartbeat] == ["cv-registry.citizen-changed"]
    assert topic_of(CitizenHeartbeat).name == "cv-registry.citizen-changed"


@each_topic
def test_an_event_has_no_field_for_anything_about_a_person(topic: Topic) -> None:
    allowed = {"id", "subject", "version", "time", "change", "cv_version"}
    assert all(set(event.model_fields) <= allowed for event in topic.events)
