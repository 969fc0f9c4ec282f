"""Internal routes: an operator's work, and comparing the feed with log and owners."""

from dataclasses import asdict
from typing import Annotated

from aiokafka.errors import KafkaError
from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import Field

from change_feed import comparing
from change_feed.log import FOLLOWED
from change_feed.parts import PartsDep, parts_of
from change_feed.rereading import hand_over
from cv_contracts.faults import Unavailable
from servicekit.follow.erasing import ErasureReceipts, erasure_routes
from servicekit.follow.operations import Operations, operation_routes
from servicekit.web.http import internal_only
from servicekit.web.internal import InternalBody, json_response

router = APIRouter(prefix="/internal")
_operator = internal_only("operator")


class PartitionBody(InternalBody):
    """Which records of the log are to be compared: those of a partition from an offset on."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    begin: Annotated[int, Field(ge=0)] = 0


def _erasures(request: Request) -> ErasureReceipts:
    return parts_of(request).erasures


def _operations(request: Request) -> Operations:
    parts = parts_of(request)
    return Operations(parts.database, parts.follower, {"feed": hand_over})


operations = operation_routes(_operations)
erasures = erasure_routes(_erasures)


@router.get("/operations/feed", dependencies=[_operator])
async def partitions(parts: PartsDep) -> Response:
    return json_response({"partitions": await comparing.partitions(parts.database)})


@router.post("/operations/feed/verify-owners", dependencies=[_operator])
async def verify_owners(parts: PartsDep) -> Response:
    compared = await comparing.compare_owners(parts.database, parts.cvs, parts.citizens)
    return json_response(asdict(compared))


@router.post("/operations/feed/verify-log", dependencies=[_operator])
async def verify_log(body: PartitionBody, parts: PartsDep) -> Response:
    topic = next((topic for topic in FOLLOWED if topic.name == body.topic), None)
    if topic is None or body.partition >= topic.partitions:
        raise HTTPException(404)
    try:
        compared = await comparing.compare_log(
            parts.database, parts.kafka, body.topic, body.partition, body.begin
        )
    except KafkaError as error:
        raise Unavailable from error
    return json_response(asdict(compared))
