"""What the answers of a provider say about it: whether it is left alone, and whether it is told as away."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from contact_verification.circuit import Circuit
from contact_verification.testing import EMAIL, MOBILE, Make, Start, live
from cv_citizens.testing import MUNICIPALITY, a_caller, relation
from cvhub.sinks.testing import Sinks
from cvhub.testing import FreshDatabase
from servicekit.observe import metrics
from servicekit.settings import TelemetrySettings
from servicekit.testing import eventually

CASE_WORKER = a_caller(MUNICIPALITY)
Sending = Callable[..., dict[str, Any]]


def test_an_answer_about_one_recipient_closes_the_circuit_of_a_provider_that_was_away() -> None:
    now = 0.0
    circuit = Circuit(2, timedelta(seconds=30), lambda: now)
    circuit.failed()
    circuit.failed()
    now = 31.0
    circuit.put_off("one")
    assert (circuit.away, circuit.room(20)) == (False, 20)


def test_a_provider_that_puts_off_everybody_counts_as_away_and_is_not_left_alone() -> None:
    circuit = Circuit(2, timedelta(seconds=30))
    for _ in range(3):
        circuit.put_off("one")
    assert (circuit.away, circuit.room(20)) == (False, 20)
    circuit.put_off("two")
    assert (circuit.away, circuit.room(20)) == (True, 20)
    # That nobody is at an address is an answer too, and still nobody has got anything.
    circuit.answered()
    assert (circuit.away, circuit.room(20)) == (True, 20)
    circuit.worked()
    assert (circuit.away, circuit.room(20)) == (False, 20)


@pytest.mark.infra
async def test_a_mail_server_that_puts_off_every_recipient_is_told_as_away(
    fresh_database: FreshDatabase, make_settings: Make, start: Start, sinks: Sinks, sending_to: Sending
) -> None:
    async def not_now(_to: str) -> int:
        return 450

    sinks.mail.trouble = not_now
    postgres = await fresh_database("contact_verification.migrations")
    settings = make_settings(postgres, **sending_to(sinks, circuit_failures=3, circuit_rest=600.0))
    async with live(start, settings) as world:
        reader = InMemoryMetricReader()
        metrics.setup("contact-verification", TelemetrySettings(), reader=reader)
        assert gauge(reader, "providers.away") == 0
        for _ in range(3):
            person = await world.citizen(relation(MUNICIPALITY))
            await world.save(CASE_WORKER, person, {EMAIL: person.mail})
        await eventually(lambda: world.parts.sender.away() == ["mail"])
        assert gauge(reader, "providers.away") == 1
        assert world.parts.sender.health()["mail"]["open"] is False
        sinks.mail.trouble = None
        await eventually(lambda: world.parts.sender.away() == [])
        metrics.shutdown()


@pytest.mark.infra
@pytest.mark.parametrize(("kind", "answer"), [(MOBILE, 503), (EMAIL, 421)])
async def test_a_provider_that_ends_the_talk_is_left_alone(
    fresh_database: FreshDatabase,
    make_settings: Make,
    start: Start,
    sinks: Sinks,
    sending_to: Sending,
    *,
    kind: int,
    answer: int,
) -> None:
    async def ends(_to: str) -> int:
        return answer

    sinks.mail.trouble = sinks.sms.trouble = ends
    postgres = await fresh_database("contact_verification.migrations")
    settings = make_settings(postgres, **sending_to(sinks, circuit_failures=3, circuit_rest=600.0))
    async with live(start, settings) as world:
        for _ in range(3):
            person = await world.citizen(relation(MUNICIPALITY))
            await world.save(CASE_WORKER, person, {kind: {EMAIL: person.mail, MOBILE: person.mobile}[kind]})
        name = {EMAIL: "mail", MOBILE: "sms"}[kind]
        await eventually(lambda: world.parts.sender.health()[name]["open"])
        assert world.parts.sender.away() == [name]


def gauge(reader: InMemoryMetricReader, name: str) -> float:
    data = reader.get_metrics_data()
    assert data is not None
    told = data.resource_metrics[0].scope_metrics[0].metrics
    [point] = [point for metric in told if metric.name == name for point in metric.data.data_points]
    value: float = point.value  # type: ignore[union-attr]  # a gauge's points have one
    return value
