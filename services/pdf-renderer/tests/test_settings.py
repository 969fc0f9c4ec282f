"""Settings that would fail later are refused at once."""

import pytest
from pydantic import ValidationError

from pdf_renderer.settings import WorkerSettings
from pdf_renderer.testing import Make
from servicekit.settings import KafkaSettings, PostgresSettings

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:9")


def test_each_document_that_is_rendered_has_its_connections(make_settings: Make) -> None:
    postgres = PostgresSettings(dsn="postgresql://127.0.0.1/nowhere", pool_max=10)
    assert make_settings(postgres, KAFKA, workers=WorkerSettings(processes=4)).workers.processes == 4
    with pytest.raises(ValidationError, match="POSTGRES__POOL_MAX must be at least twice WORKERS__PROCESSES"):
        make_settings(postgres, KAFKA, workers=WorkerSettings(processes=5))
