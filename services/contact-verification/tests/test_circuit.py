"""What the answers of a provider say about it: whether it is left alone, and whether it is told as away."""

from datetime import timedelta

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydantic import SecretStr

from contact_verification.circuit import Circuit
from contact_verification.settings import Settings
from contact_verification.testing import CASE_WORKER, EMAIL, MOBILE, Sending, Start, ToSinks, live
from cvhub.sinks.testing import Sinks
from servicekit.observe import metrics
from servicekit.settings import TelemetrySettings
from servicekit.testing import eventually


def test_a_provider_counts_as_away_from_its_last_allowed_failure_until_something_went_through() -> None:
    now = 0.0
    circuit = Circuit(2, timedelta(seconds=30), lambda: now)
    circuit.failed()
    assert (circuit.away, circuit.room(20)) == (False, 20)
    circuit.failed()
    assert (circuit.away, circuit.room(20)) == (True, 0)
    # It may be tried now, and still nobody knows that it is back.
    now = 31.0
    assert (circuit.open, circuit.away, circuit.room(20)) == (False, True, 1)
    circuit.worked()
    assert (circuit.away, circuit.room(20)) == (False, 20)


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
    sinks: Sinks, sending: Sending
) -> None:
    async def not_now(_to: str) -> int:
        return 450

    sinks.mail.trouble = not_now
    async with sending(circuit_failures=3, circuit_rest=600.0) as world:
        reader = InMemoryMetricReader()
        metrics.setup("contact-verification", TelemetrySettings(), reader=reader)
        assert gauge(reader, "providers.away") == 0
        for _ in range(3):
            await world.resident(EMAIL)
        await eventually(lambda: world.parts.sender.away() == ["mail"])
        assert gauge(reader, "providers.away") == 1
        assert world.parts.sender.health()["mail"]["open"] is False
        sinks.mail.trouble = None
        await eventually(lambda: world.parts.sender.away() == [])
        metrics.shutdown()


@pytest.mark.infra
@pytest.mark.parametrize(("kind", "answer"), [(MOBILE, 503), (EMAIL, 421)])
async def test_a_provider_that_ends_the_talk_is_left_alone(
    sinks: Sinks, sending: Sending, *, kind: int, answer: int
) -> None:
    async def ends(_to: str) -> int:
        return answer

    sinks.mail.trouble = sinks.sms.trouble = ends
    async with sending(circuit_failures=3, circuit_rest=600.0) as world:
        for _ in range(3):
            await world.resident(kind)
        name = {EMAIL: "mail", MOBILE: "sms"}[kind]
        await eventually(lambda: world.parts.sender.health()[name]["open"])
        assert world.parts.sender.away() == [name]


@pytest.mark.infra
async def test_the_circuit_opens_and_one_message_tries_the_provider(sinks: Sinks, sending: Sending) -> None:
    asked = 0

    async def busy(_to: str) -> int:
        nonlocal asked
        asked += 1
        return 503

    sinks.sms.trouble = busy
    async with sending(circuit_failures=3, circuit_rest=1.0) as world:
        for _ in range(8):
            await world.resident(MOBILE)
        await eventually(lambda: world.parts.sender.health()["sms"]["open"])
        assert world.parts.sender.away() == ["sms"]
        assert asked <= 20
        sinks.sms.trouble = None
        await eventually(world.marked("sent", 8))
        assert world.parts.sender.health()["sms"]["open"] is False
        assert world.parts.sender.away() == []


@pytest.mark.infra
async def test_a_message_whose_key_is_gone_waits_alone_and_the_provider_goes_on(
    settings: Settings, start: Start, sinks: Sinks, to_sinks: ToSinks
) -> None:
    """That an address cannot be opened is no trouble of the provider, which is not left alone for it."""
    async with live(start, settings) as world:
        await world.resident(EMAIL)
    other_key = settings.model_copy(update={"data_keys": SecretStr("k2:another key of sixteen bytes")})
    async with start(to_sinks(other_key, circuit_failures=1, circuit_rest=600.0)) as world:
        await world.heartbeat()
        await world.database.execute("update messages set next_try = now()")

        async def tried() -> None:
            assert "no key" in await world.database.fetchval("select reason from messages")

        await eventually(tried)
        person = await world.resident(EMAIL)
        await eventually(sinks.arrived(person.mail))
        await eventually(world.marked("sent"))
        assert await world.database.fetchval("select count(*) from messages where status = 'waiting'") == 1


@pytest.mark.infra
@pytest.mark.parametrize(("kind", "answer"), [(EMAIL, 450), (MOBILE, 409)])
async def test_what_is_said_of_one_recipient_costs_no_other_citizen_the_code(
    sinks: Sinks, sending: Sending, *, kind: int, answer: int
) -> None:
    put_off: list[str] = []

    async def not_now(to: str) -> int | None:
        return answer if to in put_off else None

    sinks.mail.trouble = sinks.sms.trouble = not_now
    async with sending(circuit_failures=3, circuit_rest=600.0) as world:
        for _ in range(4):
            person = await world.resident()
            put_off += [person.mail, person.mobile]
            await world.save(CASE_WORKER, person, {kind: {EMAIL: person.mail, MOBILE: person.mobile}[kind]})

        async def all_tried() -> None:
            waiting = await world.database.fetchval("select count(*) from messages where reason is not null")
            assert waiting == 4

        await eventually(all_tried)
        person = await world.resident(kind)
        await eventually(world.marked("sent"))
        assert world.parts.sender.away() == []


def gauge(reader: InMemoryMetricReader, name: str) -> float:
    data = reader.get_metrics_data()
    assert data is not None
    told = data.resource_metrics[0].scope_metrics[0].metrics
    [point] = [point for metric in told if metric.name == name for point in metric.data.data_points]
    value: float = point.value  # type: ignore[union-attr]  # a gauge's points have one
    return value
