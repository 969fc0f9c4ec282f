"""Internal routes: intake, administrative moves, states for followers, erasures. Each lists who may call it."""

from typing import Annotated, Any, Final, Self
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import Field, Secret, StringConstraints, model_validator

from cv_contracts.ids import CvId
from cv_contracts.wire.common import TEXT
from cv_registry.domain import CvState
from cv_registry.erasing import Ids
from cv_registry.merging import PersonMerger
from cv_registry.parts import PartsDep, parts_of
from cv_registry.settings import CONTACT_OWNER
from servicekit.follow.erasing import ErasedBody
from servicekit.follow.operations import WhyBody
from servicekit.follow.state_routes import state_routes, states_answer
from servicekit.web.http import internal_only
from servicekit.web.identity import ServiceIdentity
from servicekit.web.internal import InternalBody, json_response

CITIZENS_MOST: Final = 1_000
SETTLED_MOST: Final = 500
OWNERS: Final = ("cv-status", CONTACT_OWNER)
"""They decide access by their replica of the citizens, and ask about a number that it does not know."""
REPLICAS: Final = (*OWNERS, "cv-search", "change-feed")
CITIZEN_FOLLOWERS: Final = (*REPLICAS, "pdf-renderer")
CV_FOLLOWERS: Final = ("cv-search", "change-feed")
CONTACT_FOLLOWERS: Final = (CONTACT_OWNER,)

router = APIRouter(prefix="/internal")
StatusDep = Annotated[ServiceIdentity, internal_only("cv-status")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=TEXT)]

_intake = internal_only("citizen-intake")
_administration = internal_only("citizen-intake", "operator")
_owners = internal_only(*OWNERS)
_operator = internal_only("operator")
_jobnet = internal_only("jobnet-login")
_contact_owner = internal_only(CONTACT_OWNER)


citizens = state_routes("/internal/citizens", lambda request: parts_of(request).citizens, REPLICAS)
cvs = state_routes("/internal/cvs", lambda request: parts_of(request).cvs, CV_FOLLOWERS)
cv_contacts = state_routes(
    "/internal/cv-contacts", lambda request: parts_of(request).cv_contacts, CONTACT_FOLLOWERS
)


class CitizensBody(InternalBody):
    """A delivery; each citizen is validated by itself, so that one bad row refuses nobody else's."""

    citizens: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=CITIZENS_MOST)]


class MoveBody(InternalBody):
    """An administrative move in the life cycle of one CV."""

    cv_id: UUID
    state: CvState
    reason: Text
    by: Text


class MergeBody(InternalBody):
    """That two person numbers are one person's; the first one stays."""

    person_number: Annotated[str, Field(max_length=20, pattern=TEXT, repr=False)]
    merged_person_number: Annotated[str, Field(max_length=20, pattern=TEXT, repr=False)]
    reason: Text
    by: Text


class LookupBody(InternalBody):
    """A person number or a CV number, of which an owner does not know whose it is now."""

    person_number: str | None = Field(default=None, pattern=TEXT, repr=False)
    cv_number: str | None = Field(default=None, pattern=TEXT, repr=False)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.person_number is None) == (self.cv_number is None):
            raise ValueError("one number is needed")
        return self


class PersonBody(InternalBody):
    """A citizen to be erased, named by the person number or the random id."""

    person_number: str | None = Field(default=None, pattern=TEXT, repr=False)
    person_id: UUID | None = None


class EraseBody(ErasedBody):
    """An order to erase. `again`: followers may have forgotten that they did, for a back-up was restored."""

    why: WhyBody
    again: bool = False


class CvBody(InternalBody):
    """The CV that is to be frozen."""

    cv_id: UUID


class LoginBody(InternalBody):
    """A login that somebody tries at Jobnet."""

    user_name: Annotated[str, Field(max_length=40, pattern=TEXT, repr=False)]
    password: Secret[Annotated[str, Field(max_length=100, pattern=TEXT)]]


class SettleBody(InternalBody):
    """Prepared contact data of which nobody has told the end."""

    prepare_ids: Annotated[list[UUID], Field(max_length=SETTLED_MOST)]


@router.post("/citizens", dependencies=[_intake])
async def take_citizens(body: CitizensBody, parts: PartsDep) -> Response:
    results = await parts.intake.take_all(body.citizens)
    return json_response({"results": [result.to_json(i) for i, result in enumerate(results)]})


@router.post("/cvs/state", dependencies=[_administration])
async def move_cv(body: MoveBody, parts: PartsDep) -> Response:
    moved = await parts.moving.move(CvId(body.cv_id), body.state, body.reason, body.by)
    return json_response({"outcome": moved.outcome, "version": moved.version})


@router.post("/citizens/merge", dependencies=[_intake])
async def merge_persons(body: MergeBody, parts: PartsDep) -> Response:
    merger = PersonMerger(body.person_number, body.merged_person_number, body.reason, body.by)
    merged = await parts.merging.persons(merger)
    outcome = "applied" if merged.applied else "unchanged"
    return json_response(
        {"outcome": outcome, "personId": merged.survivor_id, "mergedPersonId": merged.merged_id}
    )


@router.post("/citizens/lookup", dependencies=[_owners])
async def citizen_lookup(request: Request, body: LookupBody, parts: PartsDep) -> Response:
    return await states_answer(request, await parts.citizens.lookup(body.person_number, body.cv_number))


@router.post("/cvs/content")
async def cv_content(body: CvBody, parts: PartsDep, status: StatusDep) -> Response:
    answer = await parts.reading.for_freezing(CvId(body.cv_id), status.caller)
    return Response(answer or b'{"unknown":true}', media_type="application/json")


@router.post("/jobnet-accounts/login", dependencies=[_jobnet])
async def login(body: LoginBody, parts: PartsDep) -> Response:
    return json_response(
        {"valid": await parts.letters.is_login(body.user_name, body.password.get_secret_value())}
    )


@router.post("/cv-contacts/settle", dependencies=[_contact_owner])
async def settle(body: SettleBody, parts: PartsDep) -> Response:
    decided = await parts.cv_contacts.settle(body.prepare_ids)
    return json_response(
        {
            "committed": [prepare for prepare, committed in decided.items() if committed],
            "abandoned": [prepare for prepare, committed in decided.items() if not committed],
        }
    )


@router.post("/erasures/find", dependencies=[_operator])
async def find_to_erase(body: PersonBody, parts: PartsDep) -> Response:
    found = await parts.erasing.find(body.person_number, body.person_id)
    if found is None:
        return json_response({})
    merged = await parts.merges.merged_into(found.person_id)
    ids = {"personId": found.person_id, "cvId": found.cv_id}
    return json_response({**ids, "merged": merged} if merged else ids)


@router.post("/erasures", dependencies=[_operator])
async def erase(body: EraseBody, parts: PartsDep) -> Response:
    ids = Ids(body.person_id, body.cv_id)
    erased = await parts.erasing.erase(ids, body.why.why, again=body.again)
    return json_response({"personVersion": erased.person_version, "cvVersion": erased.cv_version})
