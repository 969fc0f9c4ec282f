"""All services read their settings in one way, so that none of them lacks what was mended in the others."""

from importlib import import_module

import pytest
from pydantic_settings import BaseSettings

from cvhub.services import SERVICES, Service
from servicekit.settings import FROM_ENVIRONMENT


@pytest.mark.parametrize("service", [pytest.param(service, id=service.name) for service in SERVICES])
def test_every_service_reads_its_settings_in_the_same_way(service: Service) -> None:
    settings: type[BaseSettings] = import_module(f"{service.module}.settings").Settings
    assert settings.model_config.items() >= FROM_ENVIRONMENT.items()
