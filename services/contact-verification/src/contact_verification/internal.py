"""Internal routes: the contact part of ReplaceCV, bounces, subscriptions, states for followers."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Response
from pydantic import Field, StrictBool, StringConstraints

from contact_verification.parts import PartsDep, parts_of
from contact_verification.preparing import Prepares
from contact_verification.states import FOLLOWERS
from contact_verification.values import kind_of
from cv_contracts.wire.common import TEXT
from servicekit.follow.state_routes import state_routes
from servicekit.web.http import HotResponse, internal_only
from servicekit.web.identity import ServiceVerifier, require_service
from servicekit.web.internal import InternalBody, json_response

router = APIRouter(prefix="/internal")
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=TEXT)]

PREPARE: Final = "/internal/contact-changes/prepare"
REGISTRY: Final = frozenset({"cv-registry"})
_operator = internal_only("operator")


contact_states = state_routes("/internal/contacts", lambda request: parts_of(request).states, FOLLOWERS)


class PrepareBody(InternalBody):
    """Whose ReplaceCV is to be made, and its ContactInformation as it was sent."""

    person_id: UUID
    contact_information: dict[str, Any]


class BounceBody(InternalBody):
    """What came back: the message that we sent, by its id, or the address that nobody can be reached at."""

    message_id: UUID | None = None
    email_address: Annotated[str, Field(max_length=256, pattern=TEXT)] | None = None


class SubscriptionBody(InternalBody):
    """One notification at one type of a person's contact data."""

    person_id: UUID
    person_contact_data_type_identifier: int
    name: Name
    wanted: StrictBool


class Prepare:
    """Answers PREPARE, which every ReplaceCV asks: a hot route."""

    def __init__(self, prepares: Prepares, verifier: ServiceVerifier) -> None:
        self._prepares = prepares
        self._verifier = verifier

    async def __call__(self, headers: Mapping[bytes, bytes], body: bytes) -> HotResponse:
        require_service(self._verifier.authenticate(headers.get(b"authorization")), REGISTRY)
        asked = PrepareBody.read(body)
        prepared = await self._prepares.prepare(asked.person_id, asked.contact_information)
        values = {str(number): value for number, value in prepared.values.items()}
        answer = {"prepareId": prepared.id, "version": prepared.version, "values": values}
        return 200, [(b"content-type", b"application/json")], orjson.dumps(answer)


@router.post("/bounces", dependencies=[_operator])
async def bounce(body: BounceBody, parts: PartsDep) -> Response:
    found = 0
    if body.message_id is not None:
        found += await parts.contact_statuses.undeliverable_message(body.message_id)
    if body.email_address is not None:
        found += await parts.contact_statuses.undeliverable_mail(body.email_address)
    return json_response({"contacts": found})


@router.post("/subscriptions", dependencies=[_operator])
async def subscription(body: SubscriptionBody, parts: PartsDep) -> Response:
    kind = kind_of(parts.code_lists.lists, body.person_contact_data_type_identifier, "")
    change = parts.subscriptions.subscribe if body.wanted else parts.subscriptions.unsubscribe
    outcome = await change(body.person_id, kind.id, body.name)
    refused = outcome in ("no-contact", "removal-under-way")
    return json_response({"outcome": outcome}, status=409 if refused else 200)
