"""Settings with which any of our services can be built, and reaches nothing."""

from importlib import import_module
from pathlib import Path
from typing import Any

from cvhub.services import Service
from servicekit.settings import IdentitySettings, KafkaSettings, PostgresSettings


def unconnected(service: Service, identity: IdentitySettings, folder: Path) -> Any:
    """Give the settings of a service, its own class of them; `folder` is for files that it makes."""
    secret = "k1:a secret for this test only"
    given: dict[str, Any] = {
        "postgres": PostgresSettings(dsn="postgresql://127.0.0.1:9/nowhere"),
        "kafka": KafkaSettings(bootstrap_servers="127.0.0.1:9"),
        "identity": identity,
        "index": {"folder": folder},
        "token": {"issuer": "http://127.0.0.1:9", "jwks_url": "http://127.0.0.1:9/jwks"},
        **dict.fromkeys(("request_secret", "data_keys", "blind_secret", "code_secret"), secret),
    }
    return import_module(f"{service.module}.settings").Settings(**given)
