"""A citizen as far as access needs to know one: relations, protection, life and contact group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Self
from uuid import UUID

from cv_contracts.ids import CvId, PersonId

A_KASSE = 1
OTHER_ACTOR = 4
MUNICIPALITY = 7
JOBCENTER = 8
STAR = 100
JOBNET = 101

NO_MARGIN = timedelta()


@dataclass(frozen=True, slots=True)
class Relation:
    """That a citizen belongs to an organisation from a Danish day to a Danish day, both included.

    `referred_by` is (type, code) of the authority that referred the citizen to an other actor, and only then set.
    """

    organisation_type: int
    code: str
    start: date
    end: date | None = None
    referred_by: tuple[int, str] | None = None

    def holds(self, day: date, margin: timedelta = NO_MARGIN) -> bool:
        """Whether the day lies in the relation, widened by the margin at both ends; these may be those of the calendar."""
        return self.start <= day + margin and (self.end is None or day - margin <= self.end)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        end = state.get("to")
        referrer = state.get("referredByType")
        return cls(
            organisation_type=state["organisationType"],
            code=state["organisationCode"],
            start=date.fromisoformat(state["from"]),
            end=None if end is None else date.fromisoformat(end),
            referred_by=None if referrer is None else (referrer, state["referredByCode"]),
        )

    def to_state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "organisationType": self.organisation_type,
            "organisationCode": self.code,
            "from": self.start.isoformat(),
        }
        if self.end is not None:
            state["to"] = self.end.isoformat()
        if self.referred_by is not None:
            state["referredByType"], state["referredByCode"] = self.referred_by
        return state


@dataclass(frozen=True, slots=True)
class Citizen:
    """What the access policy and the rules about citizens read; version is that of the newest CitizenChanged.

    `cv_number` is None when the number was withdrawn. Names, birth date and address are not here: they stay in
    the state of the owner, the cv-registry.
    """

    person_id: PersonId
    version: int
    cv_id: CvId
    cv_number: str | None
    relations: tuple[Relation, ...] = ()
    contact_group: int | None = None
    enrolled: bool = False
    dead: bool = False
    name_protected: bool = False
    address_protected: bool = False

    @property
    def protected(self) -> bool:
        """Navne- og adressebeskyttelse (decision 19): either flag protects."""
        return self.name_protected or self.address_protected

    def relations_on(
        self, organisation_type: int, day: date, margin: timedelta = NO_MARGIN
    ) -> Iterable[Relation]:
        return (
            r for r in self.relations if r.organisation_type == organisation_type and r.holds(day, margin)
        )

    def municipality(self, day: date) -> str | None:
        """Code of the municipality of that day: its own relation, else the jobcenter's, else the latest known."""
        for kind in (MUNICIPALITY, JOBCENTER):
            current = max(self.relations_on(kind, day), key=_start, default=None)
            if current is not None:
                return current.code[:3]
        known = [r for r in self.relations if r.organisation_type in (MUNICIPALITY, JOBCENTER)]
        return max(known, key=_start).code[:3] if known else None

    def next_change(self, day: date) -> date | None:
        """First later day on which other relations hold without anybody saying so: one begins or has ended."""
        begins = [relation.start for relation in self.relations if relation.start > day]
        ends = [
            relation.end + timedelta(days=1)
            for relation in self.relations
            if relation.end is not None and day <= relation.end < date.max
        ]
        return min([*begins, *ends], default=None)

    @classmethod
    def from_state(cls, person_id: UUID, version: int, state: Mapping[str, Any]) -> Self:
        """Citizen of a state as the registry answers it; elements that access does not need are ignored."""
        return cls(
            person_id=PersonId(person_id),
            version=version,
            cv_id=CvId(UUID(state["cvId"])),
            cv_number=state.get("cvNumber"),
            relations=tuple(Relation.from_state(r) for r in state.get("relations", ())),
            contact_group=state.get("contactGroup"),
            enrolled=state.get("enrolled", False),
            dead=state.get("dead", False),
            name_protected=state.get("nameProtected", False),
            address_protected=state.get("addressProtected", False),
        )

    def to_state(self) -> dict[str, Any]:
        """State from which `from_state` makes an equal citizen: what a replica keeps as jsonb."""
        return {
            "cvId": str(self.cv_id),
            "cvNumber": self.cv_number,
            "relations": [r.to_state() for r in self.relations],
            "contactGroup": self.contact_group,
            "enrolled": self.enrolled,
            "dead": self.dead,
            "nameProtected": self.name_protected,
            "addressProtected": self.address_protected,
        }


def _start(relation: Relation) -> date:
    return relation.start
