"""The service as a process: killed between sending and marking, told to rotate its keys, and silent about persons."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from contact_verification.settings import Settings
from contact_verification.testing import CASE_WORKER, EMAIL, MOBILE, Registry, ToSinks, World
from cv_citizens.testing import JOBNET, a_caller
from cvhub.servers.process import ServerProcess
from cvhub.sinks.kept import Message
from cvhub.sinks.testing import Sinks, code_in
from servicekit.data.postgres import Database
from servicekit.follow.testing import make_live
from servicekit.testing import eventually, free_port
from servicekit.web.testing import Identities
from servicekit.web.tls import trusting

pytestmark = pytest.mark.infra


def environment(settings: Settings, port: int) -> dict[str, str]:
    """Give the settings as the variables that a deployment would set."""
    mail, sms = settings.mail, settings.sms
    secret = {
        name: getattr(settings, name).get_secret_value()
        for name in ("request_secret", "data_keys", "blind_secret", "code_secret")
    }
    return {
        **os.environ,
        **{name.upper(): value for name, value in secret.items()},
        "HTTP__PORT": str(port),
        "POSTGRES__DSN": settings.postgres.dsn,
        "KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "IDENTITY__KEY_FILE": str(settings.identity.key_file),
        "IDENTITY__TRUSTED_FILE": str(settings.identity.trusted_file),
        "REGISTRY_URL": settings.registry_url,
        "MAIL__PORT": str(mail.port),
        "MAIL__CA_FILE": str(mail.ca_file),
        "MAIL__USERNAME": str(mail.username),
        "MAIL__PASSWORD": (mail.password or SecretStr("")).get_secret_value(),
        "SMS__URL": sms.url,
        "SMS__TOKEN": (sms.token or SecretStr("")).get_secret_value(),
        "SENDING__LEASE": "PT2S",
        "SENDING__TIMEOUT": "PT1.5S",
        "TELEMETRY__LOG_LEVEL": "debug",
    }


def started(settings: Settings, port: int, log: Path) -> ServerProcess:
    command = [sys.executable, "-m", "contact_verification"]
    process = ServerProcess("contact-verification", command, log=log, env=environment(settings, port))
    process.start()
    url = f"http://127.0.0.1:{port}/health/live"

    def lives() -> bool:
        try:
            return httpx.get(url, trust_env=False, verify=trusting()).status_code == 200
        except httpx.HTTPError:
            return False

    process.wait_until(lives, seconds=60)
    return process


async def world_of(
    settings: Settings, identities: Identities, registry: Registry, client: httpx.AsyncClient
) -> World:
    database = await Database.connect(settings.postgres, "test")
    for projection in ("citizens", "cvs"):
        await make_live(database, projection)
    parts: Any = type("Parts", (), {"prepares": None})
    world = World(client, parts, database, registry, identities.signers, settings)
    await world.heartbeat()
    return world


@pytest.fixture
def sent_settings(settings: Settings, to_sinks: ToSinks) -> Settings:
    return to_sinks(settings)


async def test_kill_9_between_send_and_mark_sends_the_same_message_again_and_nothing_personal_is_logged(
    sent_settings: Settings,
    sinks: Sinks,
    identities: Identities,
    registry: Registry,
    tmp_path: Path,
) -> None:
    settings = sent_settings
    port, log = free_port(), tmp_path / "service.log"
    running: list[ServerProcess] = []

    def kill(message: Message) -> None:
        if message.channel == "mail" and message.times == 1:
            running[0].kill()

    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False, verify=trusting()
    ) as client:
        world = await world_of(settings, identities, registry, client)
        process = started(settings, port, log)
        running.append(process)
        person = await world.resident()
        sinks.kept.on_add = kill
        await world.save(CASE_WORKER, person, {EMAIL: person.mail})
        await eventually(lambda: not process.running)
        assert await world.database.fetchval("select status from messages") == "waiting"
        running[0] = started(settings, port, log)

        def again() -> Message:
            [mail] = sinks.kept.of(to=person.mail)
            assert mail.times == 2
            return mail

        mail = await eventually(again)
        code = code_in(mail)
        wrong = f"{(int(code) + 1) % 1_000_000:06}"
        assert (await world.verify(person, EMAIL, wrong)).status_code == 409
        assert (await world.verify(person, EMAIL, code)).status_code == 200
        await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: "not a mail address"})
        await world.find(a_caller(JOBNET), person.mail)
        await world.find(a_caller(JOBNET), person.mobile)
        await world.save(CASE_WORKER, person, {MOBILE: person.mobile}, x_requestid="a-request-of-mine")
        await world.internal("/bounces", {"emailAddress": person.mail})
        sms = await eventually(sinks.arrived(person.mobile))
        await world.database.close()
    running[0].stop()
    said = log.read_text()
    assert "bounce_taken" in said
    personal = {
        "mail": person.mail,
        "mobile": person.mobile,
        "number": person.mobile[3:],
        "person number": person.person_number,
        "CV number": person.cv_number,
        "code": code,
        "wrong code": wrong,
        "code by SMS": code_in(sms),
        "request id": "a-request-of-mine",
        "not a mail address": "not a mail address",
    }
    assert [kind for kind, text in personal.items() if text in said] == []


async def test_rotate_keys_is_a_command_that_tells_how_far_it_is(
    settings: Settings, world: World, tmp_path: Path
) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    told = environment(settings, free_port())
    told["DATA_KEYS"] = "k2:another key of sixteen bytes," + told["DATA_KEYS"]
    del told["MAIL__CA_FILE"]
    command = [sys.executable, "-m", "contact_verification", "rotate-keys"]
    done = await asyncio.to_thread(
        subprocess.run, command, env=told, capture_output=True, text=True, check=True, timeout=60
    )
    assert "periods: 1 of 1" in done.stdout
    assert "1 rows were done" in done.stdout
    assert person.mail not in done.stdout + done.stderr
    assert await world.database.fetchval("select key_id from periods") == "k2"
