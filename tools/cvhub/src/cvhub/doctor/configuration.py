"""Is what the services are told valid, and fit for production? Names of settings only, never a value."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from cvhub.doctor.findings import Finding, warning, well, wrong
from cvhub.doctor.patient import Patient, names_of, settings_class
from cvhub.keys import DEVELOPMENT
from cvhub.services import SERVICES

EXAMPLES = ("choose-a-secret-of-your-own", "only-on-this-machine")
"""What .env.example has in place of secrets."""
ADVICE = "docs/settings.md has every setting; set the named one and start the service again"


def configuration(patient: Patient) -> Iterator[Finding]:
    """Build each service's settings from what it is given."""
    for service in SERVICES:
        given = patient.environments.get(service.name)
        if given is None:
            if patient.environments:
                yield warning(
                    "configuration",
                    service.name,
                    "not looked at",
                    f"give its settings too: {service.name}.env",
                )
            continue
        try:
            with _only(given):
                settings = settings_class(service)()
        except ValidationError as error:
            yield wrong("configuration", service.name, f"missing or invalid: {names_of(error)}", ADVICE)
            continue
        yield from _fitness(service.name, settings, production=patient.production)


@contextmanager
def _only(given: Mapping[str, str]) -> Iterator[None]:
    """Let settings be read from these variables and nothing else."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _fitness(service: str, settings: BaseModel, *, production: bool) -> Iterator[Finding]:
    found = list(development_marks(settings))
    if not found:
        yield well("configuration", service, "valid")
    elif production:
        for name, text in found:
            yield wrong("configuration", service, f"{name}: {text}", ADVICE)
    else:
        yield well("configuration", service, "valid; for development only")


def development_marks(settings: BaseModel) -> Iterator[tuple[str, str]]:
    """Give the settings that are for development only, each with the reason."""
    for name, value in _flat(settings):
        reason = _secret(value) if isinstance(value, SecretStr) else _plain(name, value)
        if reason:
            yield name, reason


def _flat(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(settings).model_fields:
        value, spelled = getattr(settings, name), prefix + name.upper()
        if isinstance(value, BaseModel):
            yield from _flat(value, spelled + "__")
        else:
            yield spelled, value


def _secret(value: SecretStr) -> str | None:
    text = value.get_secret_value()
    if any(example in text for example in EXAMPLES):
        return "the secret of the example file"
    return "a secret that is easily guessed" if len(set(text)) < 8 else None


def _plain(name: str, value: Any) -> str | None:
    match name:
        case "KAFKA__SECURITY_PROTOCOL" if value != "SASL_SSL":
            return "Kafka without protection or without rights: SASL_SSL"
        case "POSTGRES__DSN" if any(example in str(value) for example in EXAMPLES):
            return "the password of the example file"
        case "TOKEN__JWKS_URL" | "SMS__URL" | "PRINT_URL" if str(value).startswith("http:"):
            return "not protected on its way: https"
        case "MAIL__SECURITY" if value == "none":
            return "mail that is not protected on its way"
        case "IDENTITY__KEY_FILE" if _is_development_key(Path(value)):
            return "a development key"
    return None


def _is_development_key(file: Path) -> bool:
    try:
        return file.read_bytes().startswith(DEVELOPMENT)
    except OSError:
        return False


def key_files(patient: Patient) -> Iterator[Finding]:
    """Look at the files of keys that can be reached from here: there, readable by their owner only, known to each other."""
    from servicekit.web.identity import load_private_key, load_trusted  # noqa: PLC0415 - the other commands start faster without

    for service, given in patient.environments.items():
        file, trusted = (Path(given.get(f"IDENTITY__{name}_FILE", "")) for name in ("KEY", "TRUSTED"))
        if not file.is_file():
            yield warning(
                "keys", service, "its key cannot be seen from here", "look at it where the service runs"
            )
            continue
        try:
            mine = load_private_key(file).public_key().public_bytes_raw()
            known = {name: key.public_bytes_raw() for name, key in load_trusted(trusted).items()}
        except (OSError, ValueError, TypeError):
            yield wrong(
                "keys",
                service,
                "a key file is damaged or missing",
                "make it anew: `python -m cvhub.prepare keys FOLDER`",
            )
            continue
        if known.get(service) != mine:
            yield wrong(
                "keys",
                service,
                "the others trust another key of this name",
                "give all services the same trusted keys, made from the present private ones",
            )
        elif stat.S_IMODE(file.stat().st_mode) & 0o077 and patient.folder is not None:
            yield wrong(
                "keys",
                service,
                "others on this machine may read its key",
                f"chmod 600 on the key file of {service}",
            )
        else:
            yield well("keys", service, "known to the others")
