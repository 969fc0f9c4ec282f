"""The contact part of a CV, which contact-verification owns: prepared there before a replace, shown here from both sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from cv_contracts.codelists import CodeLists
from cv_contracts.faults import Fault
from cv_contracts.ids import PersonId
from cv_contracts.wire.replace_cv import ReplaceContactInformationType
from servicekit.follow.state_client import Post
from servicekit.follow.states import Known
from servicekit.web.client import ServiceError, ServiceRefused

log = structlog.get_logger(__name__)

PASSED_ON: Final = frozenset({9153, 9154, 9155, 9156, 9157, 9158})
"""Faults of the values themselves; any other trouble is 9234."""
NOT_SAVED: Final = 9234
NOTHING: Final = b"{}"

_PREPARE: Final = "/internal/contact-changes/prepare"


@dataclass(frozen=True, slots=True)
class PreparedContact:
    """What contact-verification has prepared: the values as they will be (JSON by type) under the version reserved.

    Without an id nothing will change there: the values are the present ones, and the version is theirs.
    """

    id: UUID | None
    version: int
    values: bytes = field(repr=False)


class Contacts:
    """Contact-verification, as ReplaceCV needs it."""

    def __init__(self, post: Post) -> None:
        self._post = post

    async def prepare(
        self, person_id: PersonId, information: ReplaceContactInformationType
    ) -> PreparedContact:
        """Let the change be checked and prepared; raises 9153-9158 with the elements refused, or 9234 when there is no good answer."""
        try:
            answer = await self._post(
                _PREPARE, {"personId": str(person_id), "contactInformation": information.json_dict()}
            )
            return _prepared(answer)
        except ServiceRefused as refusal:
            if refusal.code is not None and refusal.code in PASSED_ON:
                raise Fault(refusal.code, refusal.errors) from None
            log.warning("contact_data_not_prepared", status=refusal.status)
        except (ServiceError, KeyError, TypeError, ValueError) as error:
            log.warning("contact_data_not_prepared", error_type=type(error).__name__)
        raise Fault(NOT_SAVED)


def _prepared(answer: Any) -> PreparedContact:
    values = {str(int(number)): str(value) for number, value in answer["values"].items()}
    prepare_id = None if answer["prepareId"] is None else UUID(answer["prepareId"])
    return PreparedContact(prepare_id, int(answer["version"]), orjson.dumps(values))


@dataclass(frozen=True, slots=True)
class ShownContact:
    """Contact data as two sides tell of them: those followed, and those of a ReplaceCV that may not have arrived there."""

    types: bytes | None = field(repr=False)
    reached: int | None
    """What is followed holds what all ReplaceCVs up to this version changed, unless it was changed again since.

    Where this ReplaceCV changed nothing, it is simply the version of what is followed.
    """
    committed_version: int | None
    committed_values: bytes | None = field(repr=False)

    @property
    def under_way(self) -> bool:
        """Whether the newest CV's contact data have not come back from contact-verification yet."""
        return self.committed_version is not None and self.committed_version > (self.reached or 0)


def row_of(known: Known, lists: CodeLists) -> tuple[UUID, int, int, bytes, bytes]:
    """Give the columns of `contacts` from a state of contact-verification.

    `ready` is what instances of an earlier version show that run beside this one, or after a step back to it. The version after
    this one may stop writing it.
    """
    contacts: Sequence[Mapping[str, Any]] = known.state["contacts"]
    types = {str(contact["type"]): [contact["version"], contact.get("value")] for contact in contacts}
    ready = information({number: value for number, (_, value) in types.items() if value is not None}, lists)
    return known.subject, known.version, known.state["replaced"], ready, orjson.dumps(types)


def information(values: Mapping[str, str], lists: CodeLists) -> bytes:
    """Give the JSON of ContactInformation from values by type.

    A landline alone is the second number after an empty first, for ReplaceCV reads the two by their places (decision 9). A type
    that the list has no more is left out.
    """
    kinds = lists.contact_data_types.values()
    by_role = {kind.role: values[str(kind.id)] for kind in kinds if str(kind.id) in values}
    elements: dict[str, Any] = {}
    if "EMAIL" in by_role:
        elements["E-mail"] = by_role["EMAIL"]
    if "LANDLINE" in by_role:
        elements["PhoneNumber"] = [by_role.get("MOBILE", ""), by_role["LANDLINE"]]
    elif "MOBILE" in by_role:
        elements["PhoneNumber"] = [by_role["MOBILE"]]
    return orjson.dumps(elements)


def shown(contact: ShownContact, lists: CodeLists) -> bytes:
    """Give ContactInformation as it is now: what is followed and, while a CV is under way, type by type the higher version."""
    values: dict[str, str] = orjson.loads(contact.committed_values or NOTHING) if contact.under_way else {}
    for number, (version, value) in orjson.loads(contact.types or NOTHING).items():
        if not contact.under_way or version > (contact.committed_version or 0):
            values.pop(number, None)
            if value is not None:
                values[number] = value
    return information(values, lists)
