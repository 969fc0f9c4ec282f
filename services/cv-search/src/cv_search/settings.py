"""Settings of cv-search, from the environment: POSTGRES__DSN, KAFKA__BOOTSTRAP_SERVERS, INDEX__FOLDER, READERS__PROCESSES, ..."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
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

SERVICE = "cv-search"
PORT = 8084
MOST_PERSONS = 1_000_000
"""What a search can name, whichever engine finds them."""

_PIECE = ConfigDict(frozen=True, hide_input_in_errors=True)


class Role(StrEnum):
    """What a process does. On a busy machine one writes, and others beside it search the same index."""

    ALL = "all"
    SEARCH = "search"
    WRITE = "write"

    @property
    def searches(self) -> bool:
        return self is not Role.WRITE

    @property
    def writes(self) -> bool:
        return self is not Role.SEARCH


class IndexSettings(BaseModel):
    """Where the index lies and how it is written. It is made of the database's own rows, so it may be deleted."""

    model_config = _PIECE

    folder: Path | None = None
    """Folder of the index, which one process writes; without its files, or with torn ones, the index is built anew."""
    opensearch_url: str | None = Field(default=None, repr=False)
    """Base URL of an OpenSearch cluster that holds the index for all instances, in place of the folder."""
    opensearch_ca_file: Path | None = None
    """Certificates trusted for an https cluster; without it those of the machine."""
    commit_every: timedelta = timedelta(milliseconds=300)
    """Commits begin at least so far apart; a reader who brings a consistency token does not wait for the next."""
    batch: int = Field(default=2_000, ge=1)
    """Documents applied between two commits at most; when building anew, documents read at a time."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.folder is None) == (self.opensearch_url is None):
            raise ValueError("the index lies in a folder, or in an OpenSearch cluster")
        return self


class ReaderSettings(BaseModel):
    """How much of the machine searching may take."""

    model_config = _PIECE

    processes: int = Field(default=2, ge=1, le=64)
    """Searches worked on at the same time, each by a process."""
    budget: timedelta = timedelta(seconds=2)
    """What one search may take of one core; then it is ended and answered 503."""
    memory_mb: int = Field(default=4096, ge=512)
    """Address space of one process, the mapped index included."""
    searches: int = Field(default=50_000, ge=1)
    """Searches after which a process is replaced by a new one."""
    waiting: int = Field(default=8, ge=0)
    """Searches that may wait for each process in a burst; further ones are answered 503 at once, and where most would wait nobody does."""


class PinSettings(BaseModel):
    """How searches are kept for their later pages."""

    model_config = _PIECE

    lifetime: timedelta = timedelta(minutes=15)
    """How long the id of a search is good for."""
    memory_mb: int = Field(default=128, ge=1)
    """Room for all of them, in the database; the oldest leave when it is full."""
    persons: int = Field(default=2_500, ge=100, le=MOST_PERSONS)
    """How many persons of one result can be paged through; its total and groups are about all of it. Each search names them."""


class Settings(BaseSettings):
    """All that differs between one running cv-search and another."""

    model_config = FROM_ENVIRONMENT

    role: Role = Role.ALL
    """`all`, or `write` and `search` for two kinds of processes with the same index: one follows and writes, others answer."""
    http: HttpSettings = HttpSettings(port=PORT)
    postgres: PostgresSettings
    kafka: KafkaSettings
    identity: IdentitySettings
    telemetry: TelemetrySettings = TelemetrySettings()
    index: IndexSettings
    readers: ReaderSettings = ReaderSettings()
    pins: PinSettings = PinSettings()
    registry_url: str = "http://127.0.0.1:8081"
    """Base URL of cv-registry."""
    status_url: str = "http://127.0.0.1:8082"
    """Base URL of cv-status."""
    owner_timeout: timedelta = timedelta(seconds=5)
    """How long those two may take for one answer."""
    code_lists: Path | None = None
    """Directory with code lists that replace the packaged ones, taken up while it runs when they change."""
