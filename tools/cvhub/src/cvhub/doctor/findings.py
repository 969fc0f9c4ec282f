"""What the doctor says: a closed list of subjects, and for each finding what to do."""

from dataclasses import dataclass
from typing import Literal, get_args

Check = Literal[
    "configuration",
    "keys",
    "versions",
    "topics",
    "services",
    "code-lists",
    "lag",
    "replicas",
    "pending",
    "unreadable",
    "outbox",
    "feed",
    "index",
    "providers",
    "clock",
    "disk",
]
CHECKS: tuple[Check, ...] = get_args(Check)
Level = Literal["well", "warning", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `advice` is empty where all is well. No value of a setting stands in it."""

    check: Check
    subject: str
    level: Level
    text: str
    advice: str = ""


def well(check: Check, subject: str, text: str) -> Finding:
    return Finding(check, subject, "well", text)


def warning(check: Check, subject: str, text: str, advice: str) -> Finding:
    return Finding(check, subject, "warning", text, advice)


def wrong(check: Check, subject: str, text: str, advice: str) -> Finding:
    return Finding(check, subject, "wrong", text, advice)
