"""The route that the gateway forwards: method 5."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from cv_search.parts import Parts, parts_of
from cv_search.searching import SearchCall
from servicekit.data.consistency import parse
from servicekit.web.calls import CallerDep
from servicekit.web.http import CONSISTENCY_HEADER, at_once

router = APIRouter()
PartsDep = Annotated[Parts, at_once(parts_of)]


@router.post("/v6/Cv/search")
async def search_cv_text(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    call = SearchCall(caller, parse(request.headers.get(CONSISTENCY_HEADER)))
    body = await parts.searching(call, await request.body())
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
