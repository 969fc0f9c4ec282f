"""Contact data under the load of drills: some CVs bring them, and they are saved by themselves, for the same citizens."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from uuid import UUID

import httpx
from tests.drills.findings import ContactWrite
from tests.e2e.caller import Caller, small_cv
from tests.e2e.contacts import MAIL, MOBILE, PATH
from tests.e2e.history import Acknowledged
from tests.e2e.streams import CVS, Stream

from cv_contracts.events.contact_verification import ContactSaved
from cvhub.synthetic import SyntheticCitizen

EVERY = 10
"""Of the citizens whose CVs are written, each of so many has contact data."""


@cache
def with_contact_data() -> list[SyntheticCitizen]:
    return CVS.persons()[::EVERY]


def mail_of(marker: str) -> str:
    return f"{marker}@example.com"


def mobile_of(marker: str) -> str:
    return f"+4526{int(marker[-8:], 16) % 1_000_000:06}"


async def _replace_cv(caller: Caller, person: str, marker: str) -> httpx.Response:
    body = small_cv(f"<p>{marker}</p>")
    if any(one.person_number == person for one in with_contact_data()):
        body["ContactInformation"] = {"E-mail": mail_of(marker), "PhoneNumber": [mobile_of(marker)]}
    return await caller.replace_cv(person, body, x_requestid=marker)


async def _save(caller: Caller, person: str, marker: str) -> httpx.Response:
    item = {"PersonContactData": mail_of(marker), "PersonContactDataTypeIdentifier": MAIL}
    body = {"PersonContactDataCollection": [item]}
    return await caller.call("POST", PATH, person, body, x_requestid=marker)


CVS_AND_CONTACTS = replace(CVS, send=_replace_cv)
CONTACTS = Stream(ContactSaved, "contact-verification", "", with_contact_data, _save)
"""Saved mail addresses. Their owner keeps no row for each write."""


def replaced(writes: Iterable[Acknowledged], person_of: Mapping[UUID, UUID]) -> list[ContactWrite]:
    """Give what these CVs brought of contact data; `person_of` has the citizens by CV id."""
    return [
        ContactWrite(
            person_of[one.key],
            {MAIL: mail_of(one.marker), MOBILE: mobile_of(one.marker)},
            one.begun,
            one.answered,
        )
        for one in writes
        if one.key in person_of
    ]


def saved(writes: Iterable[Acknowledged]) -> list[ContactWrite]:
    return [ContactWrite(one.key, {MAIL: mail_of(one.marker)}, one.begun, one.answered) for one in writes]
