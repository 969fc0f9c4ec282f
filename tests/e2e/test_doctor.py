"""What `cvhub doctor` says of a system that is well, and of one that somebody has broken."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.e2e.system import System
from typer.testing import CliRunner

from cv_contracts.topics import TOPICS
from cvhub.cli import app
from cvhub.doctor.command import examine
from cvhub.doctor.findings import CHECKS, Finding
from cvhub.doctor.patient import Patient
from cvhub.doctor.services import Asking, _about, _feed, _providers
from cvhub.keys import ensure_keys, key_file
from cvhub.operator import Place, place
from cvhub.services import SERVICES
from servicekit.kafka import connection
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually, free_port

pytestmark = pytest.mark.timeout(300)

SECRETS = ("REQUEST_SECRET", "DATA_KEYS", "BLIND_SECRET", "CODE_SECRET", "SMS__TOKEN", "MAIL__PASSWORD")


@pytest.fixture
def patient(system: System, monkeypatch: pytest.MonkeyPatch) -> Patient:
    with monkeypatch.context() as changed:
        for name, value in system.operator_environment().items():
            changed.setenv(name, value)
        where = place()
    return Patient(
        KafkaSettings(bootstrap_servers=system.stack.bootstrap_servers),
        where,
        production=False,
        environments={service.name: system.stack.environment(service) for service in SERVICES},
        folder=system.state.folder,
    )


def wrong(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(one.check, one.subject) for one in findings if one.level == "wrong"}


def test_a_system_that_is_well_has_nothing_wrong_and_everything_was_looked_at(
    system: System, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = asyncio.run(examine(patient))
    assert wrong(findings) == set()
    assert {one.check for one in findings} == set(CHECKS)
    assert all(bool(one.advice) == (one.level != "well") for one in findings)
    assert {one.subject for one in findings if one.check == "services"} >= {s.name for s in SERVICES}
    with _elsewhere(system, patient, monkeypatch):
        # The same system, seen as one elsewhere: three copies of each record are missing in production.
        result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    told = [Finding(**one) for one in json.loads(result.stdout)]
    assert wrong(told) == {("topics", topic.name) for topic in TOPICS}


@contextmanager
def _elsewhere(system: System, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("KAFKA__BOOTSTRAP_SERVERS", patient.kafka.bootstrap_servers)
        for name, value in system.operator_environment().items():
            changed.setenv(name, value)
        yield


async def test_what_waits_in_a_service_is_found(system: System, patient: Patient) -> None:
    subject = uuid4()
    await system.rows(
        "insert into pending_subjects (projection, subject, version, next_try, reason, first_seen) values "
        "('citizens', $1, 1, now() + interval '1 hour', 'owner-unknown', now() - interval '10 minutes')",
        subject,
        service="cv-status",
    )
    await system.rows(
        'insert into unreadable_records (projection, topic, partition, "offset", headers, reason) '
        "values ('citizens', 'cv-registry.citizen-changed', 0, -7, '', 'no headers')",
        service="cv-status",
    )
    await system.rows(
        "insert into outbox_refused (seq, id, aggregatetype, aggregateid, type, payload, version, time, reason) "
        "values (-7, $1, 'cv-registry.cv-changed', '-', '-', '', 1, now(), 'too large')",
        subject,
    )
    waiting = {
        ("pending", "cv-status citizens"),
        ("unreadable", "cv-status citizens"),
        ("outbox", "cv-registry"),
    }

    async def found() -> bool:
        return wrong(await examine(patient)) == waiting

    try:
        # Readiness is remembered for a second by whoever answers it.
        await eventually(found)
    finally:
        await system.rows("delete from pending_subjects where subject = $1", subject, service="cv-status")
        await system.rows('delete from unreadable_records where "offset" = -7', service="cv-status")
        await system.rows("delete from outbox_refused where seq = -7")

    async def forgotten() -> bool:
        return wrong(await examine(patient)) == set()

    await eventually(forgotten)


async def test_topics_that_are_missing_or_differ_from_the_contracts_are_found(patient: Patient) -> None:
    elsewhere = patient.kafka.model_copy(update={"topic_prefix": f"doctor-{uuid4().hex[:8]}."})
    names = [elsewhere.topic_prefix + name for name in (TOPICS[0].name, TOPICS[1].name, "cv-status.of-old")]
    admin = AIOKafkaAdminClient(**connection(elsewhere))
    await admin.start()
    try:
        few, other = NewTopic(names[0], 1, 1), NewTopic(names[1], TOPICS[1].partitions, 1)
        await admin.create_topics([few, other, NewTopic(names[2], 1, 1)])
        findings = [one for one in await examine(replace(patient, kafka=elsewhere)) if one.check == "topics"]
    finally:
        await admin.delete_topics(names)
        await admin.close()
    told = {one.subject: one.text for one in findings}
    assert told.pop(TOPICS[0].name) == "1 partitions, the contract says 6"
    assert told.pop(TOPICS[1].name).startswith("differs in ")
    assert told.pop(names[2]) == "in no contract"
    assert told == {topic.name: "missing" for topic in TOPICS[2:]}


async def test_a_service_that_is_away_and_an_operator_who_is_not_known_are_found(
    patient: Patient, tmp_path: Path
) -> None:
    gone = {**patient.place.urls, "pdf-renderer": f"http://127.0.0.1:{free_port()}"}
    ensure_keys(tmp_path, ["operator"])
    broken = replace(patient, place=Place(gone, key_file(tmp_path, "operator")))
    told = {one.subject: one.text for one in await examine(broken) if one.level == "wrong"}
    assert told["pdf-renderer"] == "does not answer"
    assert told["cv-status"] == "does not answer the operator (401)"


async def test_a_database_that_is_away_is_one_finding_for_each_service_and_no_matter_of_keys(
    system: System, patient: Patient
) -> None:
    async def found() -> bool:
        findings = [one for one in await examine(patient) if one.level == "wrong"]
        told = {one.subject: one.text for one in findings if one.check == "services"}
        return len(told) == len(findings) and all("database" in text for text in told.values()) and bool(told)

    system.kill("PostgreSQL")
    try:
        await eventually(found)
    finally:
        await asyncio.to_thread(system.revive, "PostgreSQL")

    async def well() -> bool:
        return wrong(await examine(patient)) == set()

    await eventually(well, timedelta(seconds=60))


def test_a_feed_that_stands_still_and_a_provider_that_is_away_are_found() -> None:
    feed = {"edge_age_seconds": 3.2, "trouble": None, "unreadable": 0}
    assert wrong(list(_feed("change-feed", feed))) == set()
    (behind,) = _feed("change-feed", {**feed, "edge_age_seconds": 90.4, "trouble": "RegistryAway"})
    assert (behind.level, behind.text) == ("wrong", "has taken in nothing for 90 s (RegistryAway)")
    well, lacking = _feed("change-feed", {**feed, "unreadable": 2})
    assert (well.level, well.check) == ("well", "feed")
    assert (lacking.level, lacking.check) == ("wrong", "unreadable")
    assert lacking.text == "2 records could not be read"
    assert "`cvhub unreadable list change-feed`" in lacking.advice
    sender = {"waiting": 7, "away": []}
    assert wrong(list(_providers("contact-verification", sender))) == set()
    (away,) = _providers("contact-verification", {**sender, "away": ["sms"]})
    assert (away.level, away.text) == ("wrong", "sms away, 7 messages wait")
    # What could not be asked is told of as not ready.
    failed = {"status": "failed", "error": "TimeoutError"}
    assert [*_feed("change-feed", failed), *_providers("contact-verification", failed)] == []


async def test_broker_that_is_away_is_one_finding(patient: Patient) -> None:
    nowhere = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    assert wrong(await examine(replace(patient, kafka=nowhere))) == {("topics", "Kafka")}


def _changed(patient: Patient, service: str, **settings: str) -> Patient:
    given: Mapping[str, str] = {**patient.environments[service], **settings}
    return replace(patient, environments={**patient.environments, service: given})


async def test_settings_are_named_and_their_values_are_not(patient: Patient) -> None:
    broken = _changed(patient, "cv-status", REQUEST_SECRET="short", HTTP__PORT="eighty")
    (finding,) = [one for one in await examine(broken) if one.level == "wrong"]
    assert finding.text == "missing or invalid: HTTP__PORT, REQUEST_SECRET"
    assert "short" not in str(finding)
    assert "eighty" not in str(finding)


async def test_development_keys_and_secrets_are_wrong_in_production_only(patient: Patient) -> None:
    example = _changed(patient, "change-feed", REQUEST_SECRET="choose-a-secret-of-your-own")
    assert wrong(await examine(example)) == set()
    findings = await examine(replace(example, production=True))
    told = [(one.subject, one.text) for one in findings if one.check == "configuration"]
    assert ("change-feed", "REQUEST_SECRET: the secret of the example file") in told
    for service in SERVICES:
        assert (service.name, "IDENTITY__KEY_FILE: a development key") in told
        if service.migrations:
            protocol = "KAFKA__SECURITY_PROTOCOL: Kafka without protection or without rights: SASL_SSL"
            assert (service.name, protocol) in told
    secrets = [given[name] for given in example.environments.values() for name in SECRETS if name in given]
    assert not any(secret in str(findings) for secret in secrets)


async def test_a_key_that_the_others_do_not_know_is_found(patient: Patient, tmp_path: Path) -> None:
    ensure_keys(tmp_path, ["cv-status"])
    other = _changed(patient, "cv-status", IDENTITY__KEY_FILE=str(key_file(tmp_path, "cv-status")))
    assert wrong(await examine(other)) == {("keys", "cv-status")}


def test_a_wrong_clock_a_full_disk_and_an_old_version_are_found(patient: Patient) -> None:
    service = next(one for one in SERVICES if one.name == "cv-status")
    about = Asking(patient).operations("cv-status", "about")
    now = about["time"]
    assert wrong(list(_about(service, about, now))) == set()
    process, database = ("clock", "cv-status"), ("clock", "cv-status database")
    assert wrong(list(_about(service, about, now + 60))) == {process, database}
    assert wrong(list(_about(service, {**about, "time": now - 60}, now))) == {process}
    assert wrong(list(_about(service, {**about, "databaseTime": now - 60}, now))) == {database}
    full = {**about, "disk": {"free": 1, "total": 100}}
    assert wrong(list(_about(service, full, now))) == {("disk", "cv-status")}
    older = {**about, "migrations": about["migrations"][:-1]}
    assert wrong(list(_about(service, older, now))) == {("versions", "cv-status")}


def test_the_chart_scales_by_the_groups_that_the_services_really_have(patient: Patient) -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "deploy/chart/values.yaml").read_text())["services"]
    for service in SERVICES:
        if service.migrations:
            told = Asking(patient).operations(service.name, "projections")["projections"]
            assert values[service.name]["follows"] == {one["name"]: one["topic"] for one in told}
