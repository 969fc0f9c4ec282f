"""Settings of change-feed, from the environment: POSTGRES__DSN, KAFKA__BOOTSTRAP_SERVERS, HTTP__PORT, REGISTRY_URL, ..."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from cv_contracts.topics import TOPICS
from servicekit.settings import (
    FROM_ENVIRONMENT,
    HttpSettings,
    IdentitySettings,
    KafkaSettings,
    PostgresSettings,
    TelemetrySettings,
)

SERVICE = "change-feed"
PORT = 8086
LONGEST_POLL = timedelta(seconds=60)
LOG_REACHES_BACK = max(topic.retention for topic in TOPICS if topic.public) + timedelta(days=7)
"""How old a record of the log may be: Kafka drops a segment when all of it is old, and by default begins a new one after a week."""


class Settings(BaseSettings):
    """All that differs between one running change-feed and another."""

    model_config = FROM_ENVIRONMENT

    http: HttpSettings = HttpSettings(port=PORT, request_timeout=LONGEST_POLL + timedelta(seconds=10))
    postgres: PostgresSettings
    kafka: KafkaSettings
    identity: IdentitySettings
    telemetry: TelemetrySettings = TelemetrySettings()
    request_secret: Annotated[SecretStr, Field(min_length=16)]
    """Key of the signatures of positions. Keep it: with another one all subscribers' positions become unreadable."""
    registry_url: str = "http://127.0.0.1:8081"
    """Base URL of cv-registry."""
    registry_timeout: timedelta = timedelta(seconds=3)
    """How long the registry may take for one answer."""
    unknown_patience: timedelta = timedelta(seconds=30)
    """How long after it was made an entry waits for a subject that the registry does not know, before only STAR and Jobnet are shown it. Each
    subject is waited for once."""
    page_size: int = Field(default=1_000, ge=1, le=10_000)
    """CVs on a page of GetCVUpdateList, and most events of a page of the feed."""
    extract_life: timedelta = timedelta(days=1)
    """How long a change list that was begun can be paged through."""
    retention: timedelta = timedelta(days=365)
    """How long the full sequence is kept; the newest change of each CV, and who came and left last, are kept for ever. A week longer than
    Kafka keeps the topics at least: what the log has is known to the feed, or it would come twice when it is read again."""
    partition_width: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    """How much time a partition of the feed covers; those that there are keep theirs when it is changed."""
    batch_records: int = Field(default=1_000, ge=1, le=10_000)
    """Most records of the log that are taken in by one transaction."""

    @field_validator("retention")
    @classmethod
    def _outlives_the_log(cls, retention: timedelta) -> timedelta:
        if retention < LOG_REACHES_BACK:
            raise ValueError(
                f"the log may have records of {LOG_REACHES_BACK.days} days, and the feed keeps no less"
            )
        return retention
