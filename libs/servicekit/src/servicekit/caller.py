"""On whose behalf a call is made: what requests and rows of the access log have in common."""

from dataclasses import dataclass, field

__all__ = ["Caller", "Organisation", "User"]


@dataclass(frozen=True, slots=True)
class Organisation:
    """An authority or company: its type number and its code, as in the code list of organisations."""

    type: int
    code: str


@dataclass(frozen=True, slots=True)
class User:
    """The person at the keyboard, as the client names them. Personal data: never shown by repr or in a log."""

    name: str = field(repr=False)
    type: int
    identifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called the gateway, with what the token and the headers said; already checked there."""

    client: str
    own: Organisation
    active: Organisation
    request_organisation: Organisation
    user: User
