"""The rules of contact data: what may be verified, what may be removed, when a new code may go out, which change wins."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cv_contracts.codelists import CodeLists, ContactDataType

NOT_VERIFIED: Final = "NOT_VERIFIED"
VERIFIED: Final = "VERIFIED"
UNDELIVERABLE: Final = "UNDELIVERABLE"
BLOCKED: Final = "BLOCKED"

SUBSCRIBED: Final = {"MOBILE": 9154, "EMAIL": 9155}
"""Fault of a removal while a subscription needs the address."""
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Contact:
    """One type of a person's contact data as it is now; `period` is None once it was removed.

    `version` is that of the change that made it so: of two changes the one with the higher version wins.
    """

    type: int
    version: int
    status: int
    period: UUID | None = None
    blind: bytes | None = None
    confirmed_at: datetime | None = None

    @property
    def present(self) -> bool:
        return self.period is not None


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a new code may be made, per person and per address."""

    interval: timedelta
    per_day: int


@dataclass(frozen=True, slots=True)
class Sent:
    """When a code was sent to this person, to this address, or both."""

    at: datetime
    to_person: bool
    to_address: bool


def verifiable_types(lists: CodeLists) -> list[int]:
    """Give the types of contact data that a code can be sent to."""
    return [kind.id for kind in lists.contact_data_types.values() if kind.verifiable]


def role_ids(lists: CodeLists) -> dict[str, int]:
    """Give the number of each contact status by its role."""
    return {status.role: status.id for status in lists.contact_statuses.values()}


def fault_of_code(
    contacts: Mapping[int, Contact], kind: ContactDataType, statuses: Mapping[str, int], *, renewing: bool
) -> int | None:
    """Fault of methods 15 and 16 before the code itself: 9240, 9159, 9242, and 9247 when a new code is asked for."""
    if not kind.verifiable:
        return 9240
    if not any(contact.present for contact in contacts.values()):
        return 9159
    contact = contacts.get(kind.id)
    if contact is None or not contact.present or contact.status == statuses[BLOCKED]:
        return 9242
    if contact.status == statuses[VERIFIED]:
        return 9247 if renewing else 9242
    return None


def fault_of_removals(removed: Collection[ContactDataType], subscribed: Collection[int]) -> int | None:
    """Fault of removing what a subscription needs; the mobile number first."""
    for kind in sorted(removed, key=lambda kind: kind.id):
        if kind.id in subscribed and (fault := SUBSCRIBED.get(kind.role)):
            return fault
    return None


def wait_for_code(
    sent: Sequence[Sent], now: datetime, limits: Limits, *, interval_of_person: bool = True
) -> timedelta | None:
    """Tell how long no code may be sent; None if one may be sent now.

    The codes that one save sends for several values go out together, so a save does not count the person's interval.
    """
    waits = [
        _wait([s.at for s in sent if s.to_address], now, limits, interval=True),
        _wait([s.at for s in sent if s.to_person], now, limits, interval=interval_of_person),
    ]
    return max((wait for wait in waits if wait > timedelta(0)), default=None)


def _wait(times: Sequence[datetime], now: datetime, limits: Limits, *, interval: bool) -> timedelta:
    times = sorted(time for time in times if time > now - DAY)
    waits = [timedelta(0)]
    if interval and times:
        waits.append(times[-1] + limits.interval - now)
    if len(times) >= limits.per_day:
        waits.append(times[-limits.per_day] + DAY - now)
    return max(waits)


def newer(contacts: Mapping[int, Contact], contact_type: int, version: int) -> bool:
    """Whether a change of this version still counts for this type."""
    contact = contacts.get(contact_type)
    return contact is None or contact.version < version


def removed_types(contacts: Mapping[int, Contact], wanted: Mapping[int, object | None]) -> set[int]:
    """Give the types that a change removes: they are there, and nothing is wanted in their place."""
    return {
        contact_type
        for contact_type, value in wanted.items()
        if value is None and contact_type in contacts and contacts[contact_type].present
    }
