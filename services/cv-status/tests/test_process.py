"""The service as it is run: migrations, the first build of the replica, readiness, and a clean end."""

import asyncio
import os
import signal
import sys

import httpx
import pytest

from cv_citizens.testing import MUNICIPALITY, relation
from cv_status.testing import Registry
from cvhub.testing import FreshDatabase
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually, free_port
from servicekit.web.testing import Identities
from servicekit.web.tls import trusting

pytestmark = pytest.mark.infra

SUBJECT = "6f1c2b52-7d0e-4f4b-9b0e-0a4f6a0b8c11"


async def test_an_empty_service_builds_its_replica_becomes_ready_and_leaves_when_told(
    fresh_database: FreshDatabase, kafka_settings: KafkaSettings, registry: Registry, identities: Identities
) -> None:
    registry.citizens[SUBJECT] = {
        "subject": SUBJECT,
        "version": 1,
        "state": {
            "cvId": SUBJECT,
            "cvNumber": "10000001",
            "personNumber": "0101000001",
            "relations": [relation(MUNICIPALITY)],
        },
    }
    postgres, port = await fresh_database(), free_port()
    environment = {
        **os.environ,
        "HTTP__PORT": str(port),
        "POSTGRES__DSN": postgres.dsn,
        "KAFKA__BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
        "KAFKA__TOPIC_PREFIX": kafka_settings.topic_prefix,
        **identities.environment("cv-status"),
        "REGISTRY_URL": registry.url,
        "REQUEST_SECRET": "a secret of sixteen bytes",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "cv_status", env=environment)
    try:
        async with httpx.AsyncClient(verify=trusting(), base_url=f"http://127.0.0.1:{port}") as client:

            async def is_ready() -> None:
                answer = await client.get("/health/ready")
                assert answer.status_code == 200, answer.text

            await eventually(is_ready)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
