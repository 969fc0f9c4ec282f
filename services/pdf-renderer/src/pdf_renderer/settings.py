"""Settings of pdf-renderer, from the environment: POSTGRES__DSN, KAFKA__BOOTSTRAP_SERVERS, HTTP__PORT, WORKERS__PROCESSES, ..."""

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings

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


class WorkerSettings(BaseModel):
    """How much of the machine rendering may take."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    processes: int = Field(default=2, ge=1, le=64)
    """Documents rendered at the same time."""
    timeout: timedelta = timedelta(seconds=20)
    """Longest time for one document; then its worker is killed."""
    memory_mb: int = Field(default=1536, ge=256)
    """Address space of one worker; a document that needs more ends it."""
    documents: int = Field(default=2_000, ge=1)
    """Documents after which a worker is replaced by a new one."""
    worn_mb: int = Field(default=256, ge=1)
    """Memory that a worker may go on with after a document; above it, it is replaced too."""
    waiting: int = Field(default=100, ge=0)
    """Documents that may wait for a worker; further ones are refused at once."""


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
