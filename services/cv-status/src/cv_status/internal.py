"""Internal routes: states of statuses for followers, frozen versions, an operator's work. Each lists who may call it."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Response

from cv_contracts.ids import CvId
from cv_status.parts import PartsDep, parts_of
from servicekit.follow.state_routes import state_routes
from servicekit.web.http import internal_only
from servicekit.web.internal import InternalBody, json_response

REPLICAS: Final = ("cv-registry", "cv-search")
FOLLOWERS: Final = (*REPLICAS, "pdf-renderer")

router = APIRouter(prefix="/internal")

_renderer = internal_only("pdf-renderer")


statuses = state_routes("/internal/statuses", lambda request: parts_of(request).states, REPLICAS)


class VersionBody(InternalBody):
    """The frozen version that pdf-renderer renders ahead."""

    cv_id: UUID
    version_id: UUID


@router.post("/frozen-versions/document", dependencies=[_renderer])
async def document_of_version(body: VersionBody, parts: PartsDep) -> Response:
    document = await parts.frozen.whole_document(CvId(body.cv_id), body.version_id)
    return json_response({"erased": True} if document is None else {"document": document})
