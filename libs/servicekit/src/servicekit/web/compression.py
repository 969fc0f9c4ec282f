"""Which compression a client takes, by its Accept-Encoding."""

import re

__all__ = ["takes_gzip"]

_REFUSED = re.compile(r"q=0(\.0*)?")


def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether gzip is named, and not with the weight 0 that refuses it (RFC 9110 12.4.2)."""
    for coding in accept_encoding.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip" and not _REFUSED.fullmatch(weight.strip()):
            return True
    return False
