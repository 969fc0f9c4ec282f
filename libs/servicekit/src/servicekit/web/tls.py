"""Whose certificates an HTTP client of ours trusts."""

import ssl
from functools import cache
from pathlib import Path


@cache
def trusting(ca_file: Path | None = None) -> ssl.SSLContext:
    """Give the context that trusts the authorities in the file, else the machine's; read once, since reading takes longer than a call."""
    return ssl.create_default_context(cafile=ca_file)
