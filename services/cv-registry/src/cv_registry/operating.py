"""What an operator asks the registry about one citizen: the random id, and why the access table allows or refuses. No data."""

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Response
from pydantic import Field

from cv_citizens.citizen import Citizen, Relation
from cv_citizens.policy import Actor, explain
from cv_contracts.faults import FAULTS
from cv_contracts.methods import METHOD_BY_NUMBER
from cv_contracts.wire.common import TEXT
from cv_registry.parts import PartsDep
from servicekit.caller import Organisation
from servicekit.data.access_log import AccessRow
from servicekit.web.http import internal_only
from servicekit.web.internal import InternalBody, json_response

router = APIRouter(prefix="/internal/operations", dependencies=[internal_only("operator")])


class NumberBody(InternalBody):
    """The citizen asked about."""

    person_number: Annotated[str, Field(max_length=20, pattern=TEXT, repr=False)]


class OrganisationBody(InternalBody):
    """An organisation by its type and code."""

    type: int
    code: Annotated[str, Field(max_length=20)]

    @property
    def organisation(self) -> Organisation:
        return Organisation(self.type, self.code)


class ExplainBody(NumberBody):
    """A method, the authority acted as, and the organisation of the user; without it the authority's own user."""

    method: Annotated[int, Field(ge=min(METHOD_BY_NUMBER), le=max(METHOD_BY_NUMBER))]
    active: OrganisationBody
    request: OrganisationBody | None = None

    @property
    def actor(self) -> Actor:
        active = self.active.organisation
        return Actor(active, active if self.request is None else self.request.organisation)


@router.post("/citizens/find")
async def find(body: NumberBody, parts: PartsDep) -> Response:
    found = await parts.citizens.lookup(body.person_number, None)
    return json_response({"personId": found[0].subject} if found else {})


@router.post("/explain")
async def explained(body: ExplainBody, parts: PartsDep) -> Response:
    """Explain a decision of today; that the operator asked is in the citizen's access log."""
    found = await parts.citizens.lookup(body.person_number, None)
    if not found:
        return json_response({"unknown": True})
    citizen = Citizen.from_state(found[0].subject, found[0].version, orjson.loads(found[0].state))
    await parts.access_log.record(AccessRow(citizen.person_id, "explain", None, service="operator"))
    today = parts.reading.today()
    told = explain(body.method, body.actor, citizen, today)
    fault = told.decision.fault
    return json_response(
        {
            "allowed": told.decision.allowed,
            "fault": fault,
            "title": None if fault is None else FAULTS[fault].title,
            "seesAddress": told.decision.sees_address,
            "why": told.why,
            "row": {
                "method": body.method,
                "organisationType": body.actor.organisation_type,
                **asdict(told.rule),
            },
            "relation": _relation(told.relation),
            "day": today,
        }
    )


def _relation(relation: Relation | None) -> dict[str, Any] | None:
    return None if relation is None else relation.to_state()
