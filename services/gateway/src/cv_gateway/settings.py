"""The gateway's settings, read from the environment as PART__NAME."""

import re
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings

from cv_contracts.methods import METHODS
from servicekit.settings import FROM_ENVIRONMENT, HttpSettings, IdentitySettings, TelemetrySettings

SERVICE = "gateway"
SWIFT = {"SearchCVText": timedelta(seconds=1)}
DEADLINES = {
    "GetCVAsPdf": timedelta(seconds=25),
    "GetCVOnStatus": timedelta(seconds=25),
    "CreateJobnetAccountLetter": timedelta(seconds=25),
    "Feed": timedelta(seconds=65),
    "FeedSnapshot": timedelta(seconds=25),
}
_PIECE = ConfigDict(frozen=True, hide_input_in_errors=True)


class TokenSettings(BaseModel):
    """Which bearer tokens are accepted, and where the provider publishes the keys they are signed with."""

    model_config = _PIECE

    issuer: str
    """The `iss` of accepted tokens, exactly."""
    audience: str = "cvhub"
    """The `aud` that accepted tokens name."""
    jwks_url: str
    """Where the provider publishes its keys; https anywhere but on this machine."""
    ca_file: Path | None = None
    """Certificates trusted for an https provider; without it those of the machine."""
    leeway: timedelta = timedelta(seconds=10)
    """How much the provider's clock may differ from ours."""
    keys_max_age: timedelta = timedelta(minutes=5)
    """How long keys are used before the provider is asked for them again."""
    keys_min_interval: timedelta = timedelta(seconds=5)
    """The provider is asked at most this often, however many unknown key ids arrive."""
    remembered: int = Field(default=10_000, ge=1)
    """How many verified tokens and admitted callers are remembered; a token of 20 KiB takes the place of ten."""


class LimitSettings(BaseModel):
    """How much of the gateway, and of one owner, may be taken at once."""

    model_config = _PIECE

    in_flight: int = Field(default=512, ge=1)
    """Requests worked on at once; more are answered 503 before any work."""
    polls: int = Field(default=10_000, ge=1)
    """The same for callers of the feed, most of whom wait for something to happen."""
    body_time: timedelta = timedelta(seconds=10)
    """How long a caller may take to send a request body."""
    connections: int = Field(default=64, ge=1)
    """Requests at one owner at once, while its answers are swift; an owner that is busy is given fewer."""
    documents: int = Field(default=32, ge=1)
    """The same for methods that wait for a document or a letter, apart: should pdf-renderer hang, they take nothing from the others."""
    swift_answer: timedelta = timedelta(milliseconds=100)
    """What is swift; methods with a deadline of their own take as long as they take, and are not judged by it."""
    swift: dict[str, timedelta] = SWIFT
    """The same for single methods, by name, as JSON; those not named keep theirs."""
    waiting: int = Field(default=96, ge=0)
    """Requests that wait for one of these in a burst. Where the waiting does not end, no more than are worked on."""
    longest_wait: timedelta = timedelta(seconds=1)
    """How long one of them waits in a burst; then it is answered 503 with Retry-After."""
    hurried_wait: timedelta = timedelta(milliseconds=50)
    """The same where the waiting does not end: so those who are admitted are answered soon."""
    connect_timeout: timedelta = timedelta(seconds=1)
    """How long connecting to an owner may take."""
    answer_bytes: int = Field(default=16 * 1024 * 1024, gt=0)
    """Longest answer of an owner in bytes."""
    deadline: timedelta = timedelta(seconds=10)
    """How long an owner may take to answer."""
    deadlines: dict[str, timedelta] = DEADLINES
    """The same for single methods, by name, as JSON; those not named keep theirs."""
    by_number: int = Field(default=600, ge=1)
    """Quota of GetCVByCVNumber: this many calls per client and period, spread evenly as they are used up."""
    by_number_period: timedelta = timedelta(hours=1)
    """The period of that quota."""

    @field_validator("swift")
    @classmethod
    def _swift_of_all(cls, given: dict[str, timedelta]) -> dict[str, timedelta]:
        return SWIFT | _by_method(given)

    @field_validator("deadlines")
    @classmethod
    def _deadlines_of_all(cls, given: dict[str, timedelta]) -> dict[str, timedelta]:
        return DEADLINES | _by_method(given)


def _by_method(given: dict[str, timedelta]) -> dict[str, timedelta]:
    """Refuse what is no method's name: it would change nothing, and nobody would be told."""
    if given.keys() - {method.name for method in METHODS} - DEADLINES.keys():
        raise ValueError("names what is no method")
    return given


class Settings(BaseSettings):
    """Everything the gateway is told from outside."""

    model_config = FROM_ENVIRONMENT

    http: HttpSettings = HttpSettings()
    identity: IdentitySettings
    telemetry: TelemetrySettings = TelemetrySettings()
    token: TokenSettings
    limits: LimitSettings = LimitSettings()
    owners: dict[str, str] = {}
    """Base URL per service, as JSON or as OWNERS__CV_REGISTRY; methods of a service without one answer that it is away."""
    owners_ca_file: Path | None = None
    """Certificates trusted for owners reached by https; without it those of the machine."""
    public_url: str | None = None
    """Base URL by which callers reach the gateway, for the address in the WSDL; without it the one the WSDL was asked at."""
    code_lists: Path | None = None
    """Directory with code lists that replace the packaged ones, taken up while it runs when they change."""

    @field_validator("owners")
    @classmethod
    def _service_names(cls, owners: dict[str, str]) -> dict[str, str]:
        if any(not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url) for url in owners.values()):
            raise ValueError("a base URL is http:// or https://, a host, and perhaps a path")
        return {name.lower().replace("_", "-"): url for name, url in owners.items()}
