"""What is said to citizens: the texts, Danish and English, and a message ready for a provider."""

from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files
from string import Template
from typing import Final, Literal, Protocol
from uuid import UUID

Kind = Literal["code", "reminder"]
Language = Literal["da", "en"]

BOTH: Final[tuple[Language, ...]] = ("da", "en")
HOME_PREFIX: Final = "+45"

_TEMPLATES: Final = files(__package__) / "templates"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message for one address. A provider that gets the same `id` again drops it."""

    id: UUID
    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)


class Passing(Exception):  # noqa: N818 - what the provider's answer means
    """The provider cannot take it now; whether it took it may be unknown. To be tried again under the same id."""


class PutOff(Passing):
    """The provider is there, and does not take this one message now, or nothing for its recipient.

    Said of everybody it means that the provider is away: see `Circuit`.
    """


class Refused(Exception):  # noqa: N818 - what the provider's answer means
    """The provider will never take it. `unreachable`: because nobody can be reached at the address."""

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unreachable = unreachable


class Provider(Protocol):
    """Takes messages of one kind (mail or SMS); raises Passing or Refused, and nothing else."""

    name: str

    async def send(self, message: Outgoing) -> None: ...


def sms_text(kind: Kind, to: str, *, code: str, lifetime: timedelta) -> str:
    """Give the text of an SMS: Danish to Danish numbers, else English."""
    return _text(f"{kind}_sms", "da" if to.startswith(HOME_PREFIX) else "en", code, lifetime)


def mail_text(kind: Kind, *, code: str, lifetime: timedelta) -> tuple[str, str]:
    """Give subject and text of a mail, in both languages: nobody has said which one the citizen reads."""
    parts = [_text(f"{kind}_mail", language, code, lifetime).partition("\n\n") for language in BOTH]
    subject = " / ".join(head.removeprefix("Subject: ") for head, _, _ in parts)
    return subject, "\n\n--\n\n".join(text.strip() for _, _, text in parts) + "\n"


def _text(name: str, language: Language, code: str, lifetime: timedelta) -> str:
    template = (_TEMPLATES / f"{name}.{language}.txt").read_text(encoding="utf-8")
    return Template(template).substitute(code=code, minutes=round(lifetime.total_seconds() / 60)).strip()
