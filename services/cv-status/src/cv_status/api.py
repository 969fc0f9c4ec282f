"""Routes that the gateway forwards: methods 4, 7 and 8; 6 is a hot route."""

from fastapi import APIRouter, Request, Response

from cv_contracts.wire.errors import read_query
from cv_contracts.wire.status import GetAvailableCVStatusVersionsQuery, GetCVOnStatusQuery
from cv_status.calls import read_call, write_call
from cv_status.frozen import METHOD as GET_ON_STATUS
from cv_status.parts import PartsDep
from cv_status.reading import GET_VERSIONS
from cv_status.set_cv_status import METHOD as SET_STATUS
from servicekit.web.calls import CallerDep, response_of

router = APIRouter()


@router.post("/v6/Cv/cvstatus")
async def set_cv_status(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    call = write_call(SET_STATUS, caller, request.headers)
    return response_of(await parts.set_cv_status(call, await request.body()))


@router.get("/v6/Cv/versions")
async def get_available_cv_status_versions(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    call = read_call(GET_VERSIONS, caller, request.headers)
    query = read_query(GetAvailableCVStatusVersionsQuery, request.query_params.multi_items())
    body = await parts.reading.get_versions(call, query.CVStatusIdentifier)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


@router.get("/v6/Cv/versions/onstatus")
async def get_cv_on_status(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    call = read_call(GET_ON_STATUS, caller, request.headers)
    query = read_query(GetCVOnStatusQuery, request.query_params.multi_items())
    body = await parts.on_status(call, query)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
