"""What may not leave a process in a log, a span or an error text is masked here, by pattern."""

import re

MASK = "***"
LONGEST_TEXT = 2000

_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_GAP = r"[\s.\-\u2010-\u2015]"
_SECRETS = (
    r"(?i:\b(?:bearer|basic)\s+\S+)",
    r"eyJ[\w-]+\.[\w-]+\.?[\w-]*",
    r"[^\s@]{1,64}(?:@|%40)[^\s@]{1,255}",
    rf"(?:\+|00|%2[bB]){_GAP}?45(?:{_GAP}?\d){{8}}",
    rf"\d{{6}}{_GAP}\d{{4}}",
    rf"\d{{2}}{_GAP}\d{{2}}{_GAP}\d{{2}}{_GAP}\d{{2}}",
    rf"\d{{4}}{_GAP}\d{{4}}(?![\d-])",
    r"\d{8,}",
)
# The id comes first, so that the digits inside one are never looked at on their own.
_PATTERN = re.compile(rf"(?P<id>{_UUID})|" + "|".join(_SECRETS))


def mask(text: str) -> str:
    """Mask person and CV numbers, e-mail addresses, phone numbers and tokens; random ids stay as they are."""
    readable = text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")
    return _PATTERN.sub(lambda found: found["id"] or MASK, readable)
