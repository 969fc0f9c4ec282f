"""Settings of contact-verification, from the environment: POSTGRES__DSN, DATA_KEYS, MAIL__HOST, SMS__URL, ..."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings

from servicekit.settings import (
    FROM_ENVIRONMENT,
    HttpSettings,
    IdentitySettings,
    KafkaSettings,
    PostgresSettings,
    TelemetrySettings,
)

SERVICE = "contact-verification"
PORT = 8083

Secret = Annotated[SecretStr, Field(min_length=16)]


class CodeSettings(BaseModel):
    """How long a verification code lives, how often it may be guessed, and how often a new one is sent (decision 8)."""

    model_config = ConfigDict(frozen=True)

    lifetime: timedelta = timedelta(minutes=10)
    """How long a code can be used."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """How many guesses a code bears."""
    interval: timedelta = timedelta(seconds=60)
    """Shortest time between two codes, per person and per address."""
    per_day: Annotated[int, Field(ge=1)] = 5
    """Most codes in 24 hours, per person and per address."""


class SendingSettings(BaseModel):
    """How messages are handed to the providers."""

    model_config = ConfigDict(frozen=True)

    at_once: Annotated[int, Field(ge=1)] = 20
    """Messages under way at the same time, per provider."""
    lease: timedelta = timedelta(seconds=60)
    """After it another sender takes a message that nobody has marked; longer than `timeout`."""
    timeout: timedelta = timedelta(seconds=15)
    """How long a provider may take for one message."""
    first_back_off: timedelta = timedelta(seconds=1)
    """Before the second try; doubled by each further one."""
    longest_back_off: timedelta = timedelta(minutes=5)
    """The longest time between two tries of a code, and of whatever waits for a provider or a key."""
    reminder_attempts: Annotated[int, Field(ge=1)] = 20
    """Tries of a reminder that its recipient cannot take, each after twice the wait before (six days, from 1 s); then it is given up."""
    circuit_failures: Annotated[int, Field(ge=1)] = 5
    """Failures in a row after which a provider is left alone; so many recipients put off for the first time with nothing sent in between, and it is told as away."""
    circuit_rest: timedelta = timedelta(seconds=30)
    """For how long it is left alone; then one message tries it."""


class MailSettings(BaseModel):
    """The SMTP server that takes mail."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    """Its name or address."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Its port."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is protected; `none` for tests only."""
    ca_file: Path | None = None
    """Certificates that are trusted; without it those of the machine."""
    username: str | None = None
    """As whom to log in; without it there is no log-in."""
    password: SecretStr | None = None
    """The password for it."""
    sender: str = "no-reply@cvhub.example.com"
    """The address that mail comes from."""


class SmsSettings(BaseModel):
    """The HTTP gateway that takes SMS."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    url: str = "http://127.0.0.1:8092/messages"
    """Where a message is posted."""
    token: SecretStr | None = None
    """Bearer token for it."""
    sender: Annotated[str, Field(max_length=11)] = "Jobnet"
    """The name that an SMS comes from."""


class Settings(BaseSettings):
    """All that differs between one running contact-verification and another."""

    model_config = FROM_ENVIRONMENT

    http: HttpSettings = HttpSettings(port=PORT)
    postgres: PostgresSettings
    kafka: KafkaSettings
    identity: IdentitySettings
    telemetry: TelemetrySettings = TelemetrySettings()
    request_secret: Secret
    """Key of the hash under which the body of a write with a request id is remembered."""
    data_keys: Secret
    """Keys that contact data are encrypted with: `id:secret`, several separated by commas; the first one encrypts."""
    blind_secret: Secret
    """Key of the hash by which contact data are looked up; several separated by commas: the first hashes, all find."""
    code_secret: Secret
    """Key that verification codes follow from; with another one, the codes already sent are void."""
    codes: CodeSettings = CodeSettings()
    sending: SendingSettings = SendingSettings()
    mail: MailSettings = MailSettings()
    sms: SmsSettings = SmsSettings()
    registry_url: str = "http://127.0.0.1:8081"
    """Base URL of cv-registry."""
    registry_timeout: timedelta = timedelta(seconds=3)
    """How long the registry may take for one answer."""
    settle_after: timedelta = timedelta(seconds=30)
    """How old a prepared change may grow before the registry is asked what became of it."""
    reconfirm_after: timedelta = timedelta(days=548)
    """How long contact data stay verified without being confirmed (18 months)."""
    remind_before: timedelta = timedelta(days=61)
    """How long before that the citizen is reminded (two months)."""
    code_lists: Path | None = None
    """Directory with code lists that replace the packaged ones, taken up while it runs when they change."""
