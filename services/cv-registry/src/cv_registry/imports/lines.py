"""One line of an import file: validated as the intake and ReplaceCV validate, and turned into rows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cv_contracts.codelists import CodeLists, load
from cv_contracts.envelope import Event, data_json
from cv_contracts.events.cv_registry import AsylumTransitionSet, CitizenChanged, CVChanged
from cv_contracts.faults import Fault, FieldError
from cv_contracts.ids import CvId, PersonId
from cv_contracts.topics import topic_of
from cv_contracts.wire.asylum import CreateAsylumCVTransitionRequest
from cv_contracts.wire.checks import check_code_lists, unknown_taxonomy
from cv_contracts.wire.errors import faults_of
from cv_contracts.wire.replace_cv import ReplaceCVRequest
from cv_registry.content import content_json, unsaved_contact
from cv_registry.domain import AsylumDates, CvState, change_of
from cv_registry.imports.copy_format import binary_row
from cv_registry.intake import random_cv_number
from cv_registry.told_citizen import ToldCitizen, personal_json, protected_personal_json, state_json

Table = Literal["citizens", "cvs", "cv_revisions", "asylum_transitions", "outbox"]
COLUMNS: Final[Mapping[Table, Sequence[str]]] = {
    "citizens": (
        *("person_id", "person_number", "cv_id", "cv_number", "version", "source_version"),
        *("state", "personal", "personal_protected", "changed_at"),
    ),
    "cvs": ("cv_id", "version", "state", "revision", "revised_at"),
    "cv_revisions": ("cv_id", "version", "revised_at", "content"),
    "asylum_transitions": ("person_id", "version", "transition_date", "edit_end_date", "set_at"),
    "outbox": (
        "id",
        "aggregatetype",
        "aggregateid",
        "type",
        "payload",
        "version",
        "time",
        "tracingspancontext",
    ),
}
"""What `ready` fills, in the order in which it is written."""


class ImportLine(BaseModel):
    """A citizen, perhaps with a CV in some state and with asylum dates."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    citizen: ToldCitizen
    cv: ReplaceCVRequest | None = None
    cv_state: CvState | None = Field(default=None, alias="cvState")
    asylum: CreateAsylumCVTransitionRequest | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that was not imported, and why; nothing of its content."""

    line: int
    errors: tuple[FieldError, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "line": self.line,
            "errors": [{"element": e.element, "reason": e.reason} for e in self.errors],
        }


@dataclass(frozen=True, slots=True)
class NewCitizen:
    """All that a valid line becomes when the citizen is not there yet."""

    line: int
    told: ToldCitizen
    content: bytes | None
    state: CvState
    asylum: AsylumDates | None


def read_line(number: int, line: bytes, lists: CodeLists) -> NewCitizen | Refused:
    """Validate one line; the rules are those of the intake, of ReplaceCV and of fault 9196."""
    try:
        read = ImportLine.model_validate_json(line)
    except ValidationError as error:
        return Refused(number, faults_of(error).errors)
    errors = _errors(read, lists)
    if errors:
        return Refused(number, tuple(errors))
    try:
        content = None if read.cv is None else content_json(read.cv, lists)
    except Fault as fault:
        return Refused(number, fault.errors)
    return NewCitizen(
        line=number,
        told=read.citizen,
        content=content,
        state=read.cv_state or CvState.ACTIVE,
        asylum=None if read.asylum is None else _dates(read.asylum),
    )


def _dates(asylum: CreateAsylumCVTransitionRequest) -> AsylumDates:
    return AsylumDates(asylum.AsylumCVTransitionDate, asylum.CVEditEndDate)


def _errors(read: ImportLine, lists: CodeLists) -> list[FieldError]:
    errors: list[FieldError] = []
    if read.citizen.former_person_number is not None:
        errors.append(FieldError("citizen.formerPersonNumber", "is told by a delivery, not by a file"))
    elif read.cv is not None:
        errors = (
            check_code_lists(read.cv, lists) + unknown_taxonomy(read.cv, lists) + unsaved_contact(read.cv)
        )
    elif read.cv_state is not None:
        errors.append(FieldError("cvState", "needs a cv"))
    if read.asylum is not None and read.asylum.CVEditEndDate < read.asylum.AsylumCVTransitionDate:
        errors.append(FieldError("asylum.CVEditEndDate", "is before AsylumCVTransitionDate"))
    return errors


class ReadyCitizen(NamedTuple):
    """A valid line as rows in the format of COPY, by table. The CV number was drawn here unless `numbered`."""

    line: int
    person_number: str
    cv_number: str | None
    numbered: bool
    rows: Mapping[Table, bytes]


def prepare(lines: Sequence[tuple[int, bytes]], directory: Path | None) -> Sequence[ReadyCitizen | Refused]:
    """Do all of an import that needs no database; runs in a process beside the one that writes."""
    lists = code_lists(directory)
    read = (read_line(number, line, lists) for number, line in lines if line.strip())
    return [one if isinstance(one, Refused) else ready(one, wanted_number(one)) for one in read]


@cache
def code_lists(directory: Path | None) -> CodeLists:
    """Load the code lists once per process."""
    return load(directory)


def ready(new: NewCitizen, cv_number: str | None) -> ReadyCitizen:
    """Give the ids, the rows and the events; all have one version, since nothing of the citizen is older."""
    version = time.time_ns() // 1000
    now = datetime.fromtimestamp(version / 1_000_000, UTC)
    person_id, cv_id = PersonId(uuid4()), CvId(uuid4())
    rows: dict[Table, bytes] = {
        "citizens": binary_row(
            (
                person_id,
                new.told.person_number,
                cv_id,
                cv_number,
                version,
                new.told.source_version,
                state_json(new.told, cv_id, cv_number),
                personal_json(new.told),
                protected_personal_json(new.told),
                now,
            )
        )
    }
    event = partial(_event_row, version=version, time=now)
    outbox = event(CitizenChanged, person_id, "registered")
    if new.content is not None:
        rows["cvs"] = binary_row((cv_id, version, str(new.state), version, now))
        rows["cv_revisions"] = binary_row((cv_id, version, now, new.content))
        outbox += event(CVChanged, cv_id, change_of(CvState.ACTIVE, new.state) or "created")
    if new.asylum is not None:
        dates = (new.asylum.transition, new.asylum.edit_end)
        rows["asylum_transitions"] = binary_row((person_id, version, *dates, now))
        outbox += event(AsylumTransitionSet, person_id, "created")
    rows["outbox"] = outbox
    return ReadyCitizen(new.line, new.told.person_number, cv_number, new.told.cv_number is not None, rows)


def _event_row(kind: type[Event], subject: UUID, change: str, *, version: int, time: datetime) -> bytes:
    event = kind.model_construct(id=uuid4(), subject=subject, change=change, version=version, time=time)
    return binary_row(
        (event.id, topic_of(kind).name, str(subject), kind.TYPE, data_json(event), version, time, None)
    )


def wanted_number(new: NewCitizen) -> str | None:
    """Give the CV number of the line, or draw one; None when it was withdrawn."""
    if new.told.cv_number_withdrawn:
        return None
    return new.told.cv_number or random_cv_number()
