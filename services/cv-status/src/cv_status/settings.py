"""Settings of cv-status, from the environment: POSTGRES__DSN, KAFKA__BOOTSTRAP_SERVERS, HTTP__PORT, REGISTRY_URL, ..."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from servicekit.settings import (
    FROM_ENVIRONMENT,
    HttpSettings,
    IdentitySettings,
    KafkaSettings,
    PostgresSettings,
    TelemetrySettings,
)

SERVICE = "cv-status"
PORT = 8082


class Settings(BaseSettings):
    """All that differs between one running cv-status and another."""

    model_config = FROM_ENVIRONMENT

    http: HttpSettings = HttpSettings(port=PORT)
    postgres: PostgresSettings
    kafka: KafkaSettings
    identity: IdentitySettings
    telemetry: TelemetrySettings = TelemetrySettings()
    request_secret: Annotated[SecretStr, Field(min_length=16)]
    """Key of the hash under which the body of a write with a request id is remembered."""
    registry_url: str = "http://127.0.0.1:8081"
    """Base URL of cv-registry."""
    registry_timeout: timedelta = timedelta(seconds=3)
    """How long the registry may take for one answer; after it the method's fault for an unreachable system."""
    renderer_url: str = "http://127.0.0.1:8085"
    """Base URL of pdf-renderer, which renders frozen versions."""
    renderer_timeout: timedelta = timedelta(seconds=20)
    """How long it may take for one document."""
    code_lists: Path | None = None
    """Directory with code lists that replace the packaged ones, taken up while it runs when they change."""
    status_rules: Path | None = None
    """File that replaces the packaged table of who may set a status for whom."""
