"""The service as it is run: migrations, readiness, a document, and a clean end that leaves no worker behind."""

import asyncio
import os
import signal
import sys
from datetime import timedelta

import httpx
import psutil
import pytest

from cvhub.testing import FreshDatabase
from pdf_renderer.cv_testing import letter_json
from pdf_renderer.testing import Owners
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually, free_port
from servicekit.web.testing import Identities
from servicekit.web.tls import trusting

pytestmark = pytest.mark.infra


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_service_becomes_ready_answers_and_leaves_no_worker_behind(
    fresh_database: FreshDatabase,
    kafka_settings: KafkaSettings,
    owners: Owners,
    identities: Identities,
    how: signal.Signals,
) -> None:
    postgres, port = await fresh_database(), free_port()
    environment = {
        **os.environ,
        "HTTP__PORT": str(port),
        "POSTGRES__DSN": postgres.dsn,
        "KAFKA__BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
        "KAFKA__TOPIC_PREFIX": kafka_settings.topic_prefix,
        **identities.environment("pdf-renderer"),
        "REGISTRY_URL": owners.url,
        "STATUS_URL": owners.url,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "pdf_renderer", env=environment)
    try:
        async with httpx.AsyncClient(
            verify=trusting(), base_url=f"http://127.0.0.1:{port}", timeout=30
        ) as client:

            async def is_ready() -> None:
                assert (await client.get("/health/ready")).status_code == 200

            await eventually(is_ready, timedelta(seconds=60))
            workers = psutil.Process(process.pid).children(recursive=True)
            assert len(workers) == 2
            for one in (psutil.Process(process.pid), *workers):
                assert max(one.rlimit(psutil.RLIMIT_CORE)) <= 1, "a dump of its memory would hold documents"
            signer = identities.signers["cv-registry"]
            headers = {"authorization": f"Bearer {signer.token('pdf-renderer')}"}
            answer = await client.post("/internal/documents", content=letter_json(), headers=headers)
            assert answer.content.startswith(b"%PDF-")
        process.send_signal(how)
        assert await asyncio.wait_for(process.wait(), 60) == (0 if how is signal.SIGTERM else -how)

        async def no_worker_runs() -> None:
            assert [worker for worker in workers if worker.is_running() and worker.status() != "zombie"] == []

        await eventually(no_worker_runs)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
