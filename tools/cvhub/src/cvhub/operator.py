"""The operator's way to the services: of the system that runs on this machine, or of one elsewhere that the environment names."""

import getpass
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cvhub.keys import key_file
from cvhub.servers.process import CannotStart
from cvhub.services import SERVICES
from cvhub.state import State
from servicekit.web.tls import trusting

__all__ = ["KEY", "URLS", "Calls", "Operator", "Place", "not_taken", "place", "wrongly_asked"]

IDENTITY = "operator"
URLS = "CVHUB_SERVICES"
KEY = "CVHUB_OPERATOR_KEY"
ANSWER_SECONDS = 60.0
READ_SECONDS = 10.0
"""What only reads a list is there by then, or the service hangs."""
_MADE = "`python -m cvhub.prepare keys FOLDER` makes keys, operator.pem among them"


@dataclass(frozen=True)
class Place:
    """Where the services are, and the file of the operator's private key."""

    urls: Mapping[str, str]
    key: Path
    state: State | None = None
    """Of the system on this machine; one elsewhere has none here."""

    def url(self, service: str) -> str:
        """Give the base URL of a service; refuses one that there is not, or that nobody says where it is."""
        if service in self.urls:
            return self.urls[service]
        there = f"there are: {', '.join(sorted(self.urls))}."
        if service in (one.name for one in SERVICES):
            raise CannotStart(f"{URLS} does not say where {service} is: add its base URL; {there}")
        raise CannotStart(f"There is no service '{service}'; {there}")


def place(state: State | None = None) -> Place:
    """Give the place that CVHUB_SERVICES and CVHUB_OPERATOR_KEY name; without them, or given its state, the system on this machine."""
    named = None if state is not None else os.environ.get(URLS)
    if named is not None:
        return Place(_urls(named), _key(os.environ.get(KEY)))
    here = state is not None
    state = state or State()
    if not here and not state.is_held():
        raise CannotStart(
            f"cvhub is not running here: start it with `make up`, or name one elsewhere by {URLS} and {KEY}."
        )
    run = state.running()
    urls = {service.name: run.url(service.name) for service in SERVICES}
    return Place(urls, key_file(state.keys, IDENTITY), state)


def _urls(named: str) -> dict[str, str]:
    try:
        urls = {str(service): str(url).rstrip("/") for service, url in json.loads(named).items()}
    except (ValueError, AttributeError):
        urls = {"": ""}
    if not all(url.startswith(("http://", "https://")) for url in urls.values()):
        raise CannotStart(
            f'{URLS} is the base URL of each service, as JSON: {{"cv-registry": "http://…", …}}.'
        )
    return urls


def _key(named: str | None) -> Path:
    if not named:
        raise CannotStart(f"{URLS} names a system elsewhere: name the file of its operator's key in {KEY}.")
    if not Path(named).is_file():
        raise CannotStart(f"There is no file {named}, which {KEY} names: {_MADE}.")
    return Path(named)


class Calls:
    """Calls services of one place, signed as the operator."""

    def __init__(self, where: Place) -> None:
        from servicekit.web.identity import ServiceSigner, load_private_key  # noqa: PLC0415 - `--help` comes faster without

        self._place = where
        try:
            self._signer = ServiceSigner(IDENTITY, load_private_key(where.key))
        except (OSError, ValueError, TypeError):
            raise CannotStart(f"{where.key} holds no private key that can be read here: {_MADE}.") from None

    def __call__(
        self, verb: str, service: str, path: str, *, timeout: float = ANSWER_SECONDS, **options: Any
    ) -> httpx.Response:
        """Give the answer, whatever it is; raises httpx.HTTPError where there is none."""
        url = self._place.url(service) + path
        bearer = {"authorization": f"Bearer {self._signer.token(service)}"}
        with httpx.Client(trust_env=False, verify=trusting(), timeout=timeout) as client:
            return client.request(verb, url, headers=bearer, **options)


class Operator:
    """Calls the internal operations of one service."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._calls = Calls(place())

    def get(self, path: str, **query: str | None) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", path, params=given, timeout=READ_SECONDS)

    def post(self, path: str, **body: Any) -> Any:
        return self._ask("POST", path, json=body or None)

    def decide(self, path: str, reason: str, **body: Any) -> Any:
        """Post a decision with the name of who is at this terminal."""
        return self.post(path, who=getpass.getuser(), reason=reason, **body)

    def _ask(self, verb: str, path: str, **options: Any) -> Any:
        try:
            answer = self._calls(verb, self._service, f"/internal/operations{path}", **options)
        except httpx.HTTPError as error:
            raise CannotStart(
                f"{self._service} does not answer ({type(error).__name__}): `cvhub doctor` looks at all services."
            ) from error
        if answer.status_code != httpx.codes.OK:
            raise CannotStart(_refusal(self._service, answer))
        return answer.json()


def _refusal(service: str, answer: httpx.Response) -> str:
    match answer.status_code:
        case 401 | 403:
            return not_taken(service)
        case 404:
            return (
                f"{service} has no such projection (`cvhub projections {service}` lists them), "
                "or keeps nothing of it that could be built anew or compared."
            )
        case 409:
            return f"That cannot be done now: `cvhub projections {service}` shows what is live and what is being built."
        case 400 | 422:
            return wrongly_asked(service, answer)
    return f"{service} answered {answer.status_code}: `cvhub doctor` says what is away, `cvhub logs {service}` what it says itself."


def not_taken(service: str) -> str:
    """Say that the service refuses the operator's key."""
    return f"{service} does not take this for the operator's key: give the right one in {KEY}."


def wrongly_asked(service: str, answer: httpx.Response) -> str:
    """Say what the service itself calls wrong about what it was asked."""
    is_json = "json" in answer.headers.get("content-type", "")
    errors = answer.json().get("errors", ()) if is_json else ()
    wrong = "; ".join(f"{one['element']} {one['reason']}" for one in errors)
    return f"{service} cannot take that: {wrong or 'it does not say why'}."
