"""The one table of the services that the local stack runs, and the environment each is given."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cvhub.keys import TRUSTED, key_file
from cvhub.sinks.certificate import certificate_file
from cvhub.sinks.mail import USERNAME
from cvhub.state import State

IDENTITIES = ("citizen-intake", "operator", "jobnet-login")
"""Those who call internal routes without being a service of the table."""
SINKS = "sinks"
"""The part that takes mail, SMS and letters: its name, its folder and the name of its secret."""


@dataclass(frozen=True)
class Service:
    """One service: `owner` if the gateway forwards methods to it, `migrations` if it has a database of its own."""

    name: str
    module: str
    migrations: str | None
    owner: bool = True

    @property
    def database(self) -> str:
        return self.name.replace("-", "_")

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", self.module]


SERVICES: tuple[Service, ...] = (
    Service("cv-registry", "cv_registry", "cv_registry.migrations"),
    Service("cv-status", "cv_status", "cv_status.migrations"),
    Service("contact-verification", "contact_verification", "contact_verification.migrations"),
    Service("change-feed", "change_feed", "change_feed.migrations"),
    Service("pdf-renderer", "pdf_renderer", "pdf_renderer.migrations", owner=False),
    Service("cv-search", "cv_search", "cv_search.migrations"),
    Service("gateway", "cv_gateway", None, owner=False),
)
"""In the order of their start; they stop in the opposite one."""
HOLDERS = tuple(service.name for service in SERVICES if service.migrations)
"""Every service with a database of its own may hold something of a citizen."""


@dataclass(frozen=True)
class Surroundings:
    """What a service must be told of the others."""

    state: State
    ports: Mapping[str, int]
    bootstrap_servers: str
    dsns: Mapping[str, str]
    """The DSN of each service with a database, by service name."""


def environment(service: Service, around: Surroundings) -> dict[str, str]:
    """Give what this service's settings need, as environment variables."""
    common = {
        "HTTP__PORT": str(around.ports[service.name]),
        "IDENTITY__KEY_FILE": str(key_file(around.state.keys, service.name)),
        "IDENTITY__TRUSTED_FILE": str(around.state.keys / TRUSTED),
    }
    more = _MORE.get(service.name)
    own = more(around) if more else {}
    return common | own | (_owner(service, around) if service.migrations else _gateway(around))


def _owner(service: Service, around: Surroundings) -> dict[str, str]:
    return {
        "POSTGRES__DSN": around.dsns[service.name],
        "KAFKA__BOOTSTRAP_SERVERS": around.bootstrap_servers,
        "REQUEST_SECRET": around.state.secret("request log"),
        "REGISTRY_URL": f"http://127.0.0.1:{around.ports['cv-registry']}",
        "STATUS_URL": f"http://127.0.0.1:{around.ports['cv-status']}",
        "CONTACT_URL": f"http://127.0.0.1:{around.ports['contact-verification']}",
        "RENDERER_URL": f"http://127.0.0.1:{around.ports['pdf-renderer']}",
    }


def _cv_registry(around: Surroundings) -> dict[str, str]:
    """Give the sink in the print service's place."""
    return {
        "PRINT_URL": f"http://127.0.0.1:{around.ports[SINKS]}",
        "PRINT_TOKEN": around.state.secret(SINKS),
    }


def _contact_verification(around: Surroundings) -> dict[str, str]:
    """Give its keys, and the sinks in the providers' place."""
    password = around.state.secret(SINKS)
    return {
        "DATA_KEYS": f"local:{around.state.secret('contact data')}",
        "BLIND_SECRET": around.state.secret("contact blind index"),
        "CODE_SECRET": around.state.secret("contact codes"),
        "CODES__PER_DAY": "1000",
        "MAIL__PORT": str(around.ports["mail-sink"]),
        "MAIL__CA_FILE": str(certificate_file(around.state.folder / SINKS)),
        "MAIL__USERNAME": USERNAME,
        "MAIL__PASSWORD": password,
        "SMS__URL": f"http://127.0.0.1:{around.ports[SINKS]}/messages",
        "SMS__TOKEN": password,
    }


def _cv_search(around: Surroundings) -> dict[str, str]:
    """Give where its index lies."""
    return {"INDEX__FOLDER": str(around.state.folder / "search")}


_MORE: Mapping[str, Callable[[Surroundings], dict[str, str]]] = {
    "cv-registry": _cv_registry,
    "contact-verification": _contact_verification,
    "cv-search": _cv_search,
}


def _gateway(around: Surroundings) -> dict[str, str]:
    issuer = f"http://127.0.0.1:{around.ports['idp']}"
    owners = {
        f"OWNERS__{service.database.upper()}": f"http://127.0.0.1:{around.ports[service.name]}"
        for service in SERVICES
        if service.owner
    }
    return {
        "TOKEN__ISSUER": issuer,
        "TOKEN__JWKS_URL": f"{issuer}/jwks.json",
        "TOKEN__AUDIENCE": "cvhub",
        **owners,
    }
