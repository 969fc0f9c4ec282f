"""Internal routes: states of statuses for followers, frozen versions, an operator's work. Each lists who may call it."""

from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from cv_contracts.ids import CvId
from cv_status.parts import Parts, parts_of
from cv_status.store import StatusStates
from servicekit.follow.erasing import Receipts, erasure_routes
from servicekit.follow.operations import Operations, operation_routes
from servicekit.follow.owner import state_routes
from servicekit.web.http import at_once, internal_only

FOLLOWERS: Final = ("cv-registry", "cv-search", "pdf-renderer", "change-feed", "operator")

router = APIRouter(prefix="/internal")
PartsDep = Annotated[Parts, at_once(parts_of)]

_renderer = internal_only("pdf-renderer")


def _states(request: Request) -> StatusStates:
    return parts_of(request).states


def _erasures(request: Request) -> Receipts:
    return parts_of(request).erasures


def _operations(request: Request) -> Operations:
    parts = parts_of(request)
    return Operations(parts.database, parts.follower)


statuses = state_routes("/internal/statuses", _states, FOLLOWERS)
operations = operation_routes(_operations)
erasures = erasure_routes(_erasures)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class VersionBody(_Body):
    """The frozen version that pdf-renderer renders ahead."""

    cvId: UUID  # noqa: N815 - the name on the wire
    versionId: UUID  # noqa: N815 - the name on the wire


@router.post("/frozen-versions/document", dependencies=[_renderer])
async def document_of_version(body: VersionBody, parts: PartsDep) -> Response:
    document = await parts.frozen.whole_document(CvId(body.cvId), body.versionId)
    return _json({"erased": True} if document is None else {"document": document})


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body, default=str), media_type="application/json")
