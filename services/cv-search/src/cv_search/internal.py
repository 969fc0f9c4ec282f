"""Internal routes: the index, an operator's work on what is followed. Each lists who may call it."""

from dataclasses import asdict
from typing import Final

from fastapi import APIRouter, Response

from cv_search.parts import PartsDep
from servicekit.follow.operations import WhyBody
from servicekit.web.http import internal_only
from servicekit.web.internal import json_response

router = APIRouter(prefix="/internal", dependencies=[internal_only("operator")])

_KEY: Final = "operate the index"


@router.get("/operations/index")
async def index(parts: PartsDep) -> Response:
    """Show how this instance's writer gets on, how many indexes are as was ordered last, and how many searches are kept."""
    kept, standing = await parts.pins.kept(), await parts.purging.standing()
    return json_response(
        {
            **asdict(parts.indexer.progress),
            "lag_seconds": round(parts.indexer.lag_seconds, 3),
            "building": parts.indexer.building,
            "indexes": asdict(standing),
            "searches": kept.searches,
            "searchBytes": kept.bytes,
        }
    )


@router.post("/operations/index/rebuild")
async def rebuild(body: WhyBody, parts: PartsDep) -> Response:
    """Let every instance build its index anew beside the one that is searched."""
    async with parts.database.write(_KEY) as tx:
        await body.why.note(tx, "rebuild", "index")
        await parts.purging.order(tx)
    return json_response({})
