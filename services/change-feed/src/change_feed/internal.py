"""Internal routes: an operator's work, and comparing the feed with log and owners."""

from dataclasses import asdict
from typing import Annotated

from aiokafka.errors import KafkaError
from fastapi import APIRouter, HTTPException, Response
from pydantic import Field

from change_feed import comparing
from change_feed.log import FOLLOWED
from change_feed.parts import PartsDep
from cv_contracts.faults import Unavailable
from servicekit.web.http import internal_only
from servicekit.web.internal import InternalBody, json_response

router = APIRouter(prefix="/internal")
_operator = internal_only("operator")


class PartitionBody(InternalBody):
    """Which records of the log are to be compared: those of a partition from an offset on."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    begin: Annotated[int, Field(ge=0)] = 0


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
