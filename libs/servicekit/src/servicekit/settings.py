"""The settings that services compose, each read from the environment as PART__NAME."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from cv_contracts.errors import Misconfigured

FROM_ENVIRONMENT = SettingsConfigDict(
    frozen=True,
    extra="ignore",
    env_nested_delimiter="__",
    # Who sets one value of a part keeps the service's own defaults of the others.
    nested_model_default_partial_update=True,
    hide_input_in_errors=True,
)
"""How each service reads its settings; no error quotes a value."""


class BadSetting(Misconfigured, ValueError):  # noqa: N818 - says what is the matter
    """A setting that cannot be used, found where it is used. Its text never has the value in it."""


def secret_text(value: SecretStr | None, file: Path | None) -> str | None:
    """Give a secret from its setting, or else from the file that holds it."""
    if value is not None:
        return value.get_secret_value()
    return None if file is None else file.read_text(encoding="utf-8").strip()


class HttpSettings(BaseModel):
    """Where a service listens and how long a request may take."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """TCP port to listen on; 0 takes a free one."""
    body_limit: int = Field(default=2 * 1024 * 1024, gt=0)
    """Longest request body in bytes; a longer one is refused with 413."""
    head_limit: int = Field(default=64 * 1024, gt=0)
    """Longest request line and headers in bytes; longer ones are refused with 431."""
    head_time: timedelta = timedelta(seconds=10)
    """How long a client may take for the head of a request, and to begin the first one on a new connection."""
    request_timeout: timedelta = timedelta(seconds=30)
    """Longest time for one request, also when the caller's `x-deadline-ms` would allow more."""
    keep_alive: timedelta = timedelta(seconds=75)
    """How long a connection is kept that is idle, longer than any client of ours keeps one, or whose client takes nothing of an answer."""
    drain_idle: timedelta = timedelta(seconds=1)
    """After SIGTERM: how long idle connections may still send a request, answered with `connection: close`."""
    grace: timedelta = timedelta(seconds=20)
    """After SIGTERM: how long requests in flight may take to finish."""
    backlog: int = Field(default=2048, gt=0)
    """Length of the queue of connections not yet accepted."""


class IdentitySettings(BaseModel):
    """The key a service signs with, and the services it trusts."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    key_file: Path
    """File with this service's Ed25519 private key (PEM)."""
    trusted_file: Path
    """JSON file: service name to the base64 of its raw Ed25519 public key."""


class TelemetrySettings(BaseModel):
    """What a service tells about its own work: logs, traces, metrics."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log entry that is written."""
    otlp_endpoint: str | None = None
    """Base URL of an OTLP/HTTP collector, such as http://collector:4318; without it nothing is exported."""
    otlp_headers: SecretStr | None = None
    """Headers for the collector as `name=value,name=value`; may hold a key."""
    otlp_headers_file: Path | None = None
    """File to read `otlp_headers` from, in place of the value itself."""
    sample_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of the traces begun here that are recorded. The decision of another service is followed, that of a caller of the
    gateway is not: the gateway decides itself, and keeps the trace id."""
    metrics_interval: timedelta = timedelta(seconds=15)
    """How often metrics are exported."""

    def exporter_headers(self) -> dict[str, str]:
        """Give the headers for the collector, by name."""
        text = secret_text(self.otlp_headers, self.otlp_headers_file) or ""
        pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
        return {name.strip(): value.strip() for name, _, value in pairs}


class PostgresSettings(BaseModel):
    """How to reach the service's own database; the times named after its settings are kept by the server itself."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    dsn: str = Field(repr=False)
    """`postgresql://user:password@host:port/database`; never logged."""
    pool_min: int = Field(default=2, ge=0)
    """Connections kept open."""
    pool_max: int = Field(default=10, ge=1)
    """Most connections of the pool; the relay, leases and builds have up to four more of their own."""
    connect_timeout: timedelta = timedelta(seconds=5)
    """How long opening a connection may take."""
    acquire_timeout: timedelta = timedelta(seconds=5)
    """How long to wait for a free connection of the pool."""
    command_timeout: timedelta = timedelta(seconds=15)
    """How long to wait for an answer to one statement, whatever the server does."""
    statement_timeout: timedelta = timedelta(seconds=10)
    """How long the server works on one statement."""
    lock_timeout: timedelta = timedelta(seconds=5)
    """How long a statement waits for a lock, key locks included."""
    idle_in_transaction_session_timeout: timedelta = timedelta(seconds=10)
    """How long a transaction may stand open with nothing to do: it holds back what the relay may see."""
    access_log_months: int = Field(default=60, ge=1)
    """Whole months that rows of the access log are kept after their own: the legal period. Older partitions are dropped."""


class KafkaSettings(BaseModel):
    """How to reach Kafka, and as whom."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    bootstrap_servers: str
    """`host:port`, several separated by commas."""
    topic_prefix: str = ""
    """Stands before every topic name, so that several systems may share one broker."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How the connection is protected; SASL_SSL wherever it leaves the machine."""
    sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = "SCRAM-SHA-512"
    """How the service proves who it is."""
    sasl_username: str | None = None
    """The service's principal."""
    sasl_password: SecretStr | None = None
    """Its password."""
    sasl_password_file: Path | None = None
    """File to read `sasl_password` from, in place of the value itself."""
    ssl_cafile: Path | None = None
    """Certificates that are trusted; without it those of the machine."""
    ssl_certfile: Path | None = None
    """The service's own certificate, where the broker asks for one."""
    ssl_keyfile: Path | None = None
    """The key of that certificate."""
    request_timeout: timedelta = timedelta(seconds=10)
    """How long to wait for an answer of the broker."""
