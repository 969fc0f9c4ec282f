"""The system that is looked at: the one that runs on this machine, or one elsewhere that the environment names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cvhub.operator import Place, place
from cvhub.servers.process import CannotStart
from cvhub.services import SERVICES, Service, Surroundings, environment
from servicekit.settings import KafkaSettings

HERE = "postgresql://user:password@127.0.0.1/database"
"""Stands for the DSNs of the local stack, which only their services know."""


class Elsewhere(BaseSettings):
    """What the environment says of a system elsewhere besides its place: how to reach its Kafka."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", hide_input_in_errors=True, extra="ignore")

    kafka: KafkaSettings


@dataclass(frozen=True)
class Patient:
    """Where everything is. `environments`: what each service is given, where that is known."""

    kafka: KafkaSettings
    place: Place
    production: bool
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folder: Path | None = None
    """Where the data of the system on this machine lie."""


def patient(*, production: bool, environments: Path | None) -> Patient:
    """Find the system. One elsewhere is production; one here is only when that is asked for."""
    where = place()
    if where.state is None:
        given = {} if environments is None else _read(environments)
        return Patient(_kafka(), where, True, given)
    state = where.state
    run = state.running()
    dsns = {service.name: HERE for service in SERVICES if service.migrations}
    around = Surroundings(state, run.ports, run.bootstrap_servers, dsns)
    return Patient(
        KafkaSettings(bootstrap_servers=run.bootstrap_servers),
        where,
        production,
        {service.name: environment(service, around) for service in SERVICES},
        state.folder,
    )


def _kafka() -> KafkaSettings:
    try:
        return Elsewhere().kafka
    except ValidationError as error:
        raise CannotStart(
            "The doctor looks at Kafka too: KAFKA__BOOTSTRAP_SERVERS and what else docs/settings.md lists must say how it is reached; "
            f"missing or invalid: {names_of(error)}."
        ) from None


def names_of(error: ValidationError) -> str:
    """Give the variables that settings miss or cannot take, or what is said of several; their values stay unsaid."""
    return ", ".join(
        sorted({"__".join(map(str, one["loc"])).upper() or one["msg"] for one in error.errors()})
    )


def _read(folder: Path) -> dict[str, dict[str, str]]:
    files = sorted(folder.glob("*.env"))
    if not files:
        raise CannotStart(
            f"{folder} has no SERVICE.env: one file per service, with a line NAME=value per setting."
        )
    return {
        file.stem: dict(
            line.split("=", 1)
            for line in file.read_text(encoding="utf-8").splitlines()
            if "=" in line and line[0] != "#"
        )
        for file in files
    }


def settings_class(service: Service) -> type[BaseSettings]:
    found: type[BaseSettings] = import_module(f"{service.module}.settings").Settings
    return found
