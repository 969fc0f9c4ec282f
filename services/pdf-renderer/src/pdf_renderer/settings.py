"""Settings of pdf-renderer, from the environment: POSTGRES__DSN, KAFKA__BOOTSTRAP_SERVERS, HTTP__PORT, WORKERS__PROCESSES, ..."""

from datetime import timedelta
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings

from pdf_renderer.workers import WorkerSettings
from servicekit.settings import (
    FROM_ENVIRONMENT,
    HttpSettings,
    IdentitySettings,
    KafkaSettings,
    PostgresSettings,
    TelemetrySettings,
)

SERVICE = "pdf-renderer"
PORT = 8085
LONGEST_BODY = 4 * 1024 * 1024


class Settings(BaseSettings):
    """All that differs between one running pdf-renderer and another."""

    model_config = FROM_ENVIRONMENT

    http: HttpSettings = HttpSettings(port=PORT, body_limit=LONGEST_BODY)
    postgres: PostgresSettings
    kafka: KafkaSettings
    identity: IdentitySettings
    telemetry: TelemetrySettings = TelemetrySettings()
    workers: WorkerSettings = WorkerSettings()
    registry_url: str = "http://127.0.0.1:8081"
    """Base URL of cv-registry."""
    status_url: str = "http://127.0.0.1:8082"
    """Base URL of cv-status."""
    owner_timeout: timedelta = timedelta(seconds=5)
    """How long those two may take for one answer."""
    keep_current: timedelta = timedelta(days=7)
    """How long the rendering of a current CV is kept; frozen versions are kept until an erasure."""

    @model_validator(mode="after")
    def _connections_for_all(self) -> Self:
        # A document that is rendered holds one and needs a second; others are found meanwhile, and the follower works.
        if self.postgres.pool_max < 2 * self.workers.processes + 2:
            raise ValueError("POSTGRES__POOL_MAX must be at least twice WORKERS__PROCESSES and 2 more")
        return self
