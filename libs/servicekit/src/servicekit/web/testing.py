"""For tests of services: the keys by which services know each other, in the files that a deployment gives them."""

import json
from collections.abc import Iterable
from pathlib import Path

from servicekit.settings import IdentitySettings
from servicekit.web.identity import ServiceSigner, generate_key, load_private_key

__all__ = ["Identities"]


class Identities:
    """A key for each of some services, who all trust each other."""

    def __init__(self, folder: Path, services: Iterable[str]) -> None:
        self._folder = folder
        self.signers: dict[str, ServiceSigner] = {}
        trusted = {}
        for service in services:
            pem, trusted[service] = generate_key()
            self.key_file(service).write_bytes(pem)
            self.signers[service] = ServiceSigner(service, load_private_key(self.key_file(service)))
        self.trusted_file.write_text(json.dumps(trusted))

    @property
    def trusted_file(self) -> Path:
        return self._folder / "trusted.json"

    def key_file(self, service: str) -> Path:
        return self._folder / f"{service}.pem"

    def settings(self, service: str) -> IdentitySettings:
        """Give the settings of one of them."""
        return IdentitySettings(key_file=self.key_file(service), trusted_file=self.trusted_file)

    def environment(self, service: str) -> dict[str, str]:
        """Give the same for a process."""
        return {
            "IDENTITY__KEY_FILE": str(self.key_file(service)),
            "IDENTITY__TRUSTED_FILE": str(self.trusted_file),
        }
