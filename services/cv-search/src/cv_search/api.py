"""The route that the gateway forwards: method 5."""

from fastapi import APIRouter, Request, Response

from cv_search.parts import PartsDep
from cv_search.searching import SearchCall
from servicekit.data.consistency import CONSISTENCY_HEADER, parse
from servicekit.web.calls import CallerDep

router = APIRouter()


@router.post("/v6/Cv/search")
async def search_cv_text(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    call = SearchCall(caller, parse(request.headers.get(CONSISTENCY_HEADER)))
    body = await parts.searching(call, await request.body())
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
