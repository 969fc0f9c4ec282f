"""The system that is looked at: the one that runs on this machine, or one elsewhere that the environment names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from cvhub.keys import key_file
from cvhub.servers.process import CannotStart
from cvhub.services import SERVICES, Service, Surroundings, environment
from cvhub.state import State
from servicekit.settings import KafkaSettings

HERE = "postgresql://user:password@127.0.0.1/database"
"""Stands for the DSNs of the local stack, which only their services know."""


class Elsewhere(BaseSettings):
    """A system that does not run here: KAFKA__…, CVHUB_SERVICES and CVHUB_OPERATOR_KEY."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", hide_input_in_errors=True, extra="ignore")

    kafka: KafkaSettings
    cvhub_services: dict[str, str]
    """Base URL by service, as JSON."""
    cvhub_operator_key: Path
    """The operator's private key."""


@dataclass(frozen=True)
class Patient:
    """Where everything is. `environments`: what each service is given, where that is known."""

    kafka: KafkaSettings
    urls: Mapping[str, str]
    operator_key: Path
    production: bool
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folder: Path | None = None
    """Where the data of the system on this machine lie."""


def patient(*, production: bool, environments: Path | None) -> Patient:
    """Find the system. One elsewhere is production; one here is only when that is asked for."""
    state = State()
    if "CVHUB_SERVICES" in os.environ:
        there = Elsewhere()
        given = {} if environments is None else _read(environments)
        return Patient(there.kafka, there.cvhub_services, there.cvhub_operator_key, True, given)
    run = state.running()
    dsns = {service.name: HERE for service in SERVICES if service.migrations}
    around = Surroundings(state, run.ports, run.bootstrap_servers, dsns)
    return Patient(
        KafkaSettings(bootstrap_servers=run.bootstrap_servers),
        {service.name: run.url(service.name) for service in SERVICES},
        key_file(state.keys, "operator"),
        production,
        {service.name: environment(service, around) for service in SERVICES},
        state.folder,
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
