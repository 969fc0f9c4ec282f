"""Settings of cv-registry, from the environment: POSTGRES__DSN, KAFKA__BOOTSTRAP_SERVERS, HTTP__PORT, ..."""

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

SERVICE = "cv-registry"
CONTACT_OWNER = "contact-verification"
PORT = 8081


class Settings(BaseSettings):
    """All that differs between one running cv-registry and another."""

    model_config = FROM_ENVIRONMENT

    http: HttpSettings = HttpSettings(port=PORT)
    postgres: PostgresSettings
    kafka: KafkaSettings
    identity: IdentitySettings
    telemetry: TelemetrySettings = TelemetrySettings()
    request_secret: Annotated[SecretStr, Field(min_length=16)]
    """Key of the hash under which the body of a write with a request id is remembered."""
    status_url: str | None = None
    """Base URL of cv-status, whose statuses GetCV shows; without it the registry follows none and GetCV shows none."""
    contact_url: str | None = None
    """Base URL of contact-verification, which owns the contact data of CVs; without it GetCV shows none, and no CV that
    brings any can be saved (9234)."""
    contact_timeout: timedelta = timedelta(seconds=3)
    """How long contact-verification may take to prepare a change; after it 9234."""
    renderer_url: str = "http://127.0.0.1:8085"
    """Base URL of pdf-renderer, which renders CVs and account letters."""
    renderer_timeout: timedelta = timedelta(seconds=20)
    """How long it may take for one document; after it 4430."""
    print_url: str | None = None
    """Base URL of the print service; without it no account letter can be sent (4431)."""
    print_token: SecretStr | None = None
    """Bearer token for it."""
    print_ca_file: Path | None = None
    """Certificates trusted for an https print service; without it those of the machine."""
    print_timeout: timedelta = timedelta(seconds=5)
    """How long it may take for one answer; after it, it is asked whether it took the letter."""
    letters_settled_every: timedelta = timedelta(seconds=10)
    """How often letters that were left in the middle are settled."""
    code_lists: Path | None = None
    """Directory with code lists that replace the packaged ones, taken up while it runs when they change."""
    asylum_max_period_days: Annotated[int, Field(ge=0)] = 180
    """Longest period between the two asylum dates (9197)."""
    archive_after_days: Annotated[int, Field(ge=1)] | None = None
    """After how many days without a change an active CV is archived; without it none is."""

    @property
    def asylum_max_period(self) -> timedelta:
        return timedelta(days=self.asylum_max_period_days)
