"""Internal routes by which an operator asks who looked at whom. Who is asked about stands in the body, never in the URL."""

from collections.abc import Callable
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, Field

from cv_contracts.wire.common import TEXT
from servicekit.data import access_queries
from servicekit.data.access_queries import Asked
from servicekit.data.postgres import Database
from servicekit.web.http import at_once, internal_only
from servicekit.web.internal import InternalBody, json_response

ROWS_MOST: Final = 10_000
SmallInt = Annotated[int, Field(ge=0, lt=2**15)]


class PeriodBody(InternalBody):
    """From when until when, the end not included."""

    since: AwareDatetime
    until: AwareDatetime


class AskBody(PeriodBody):
    """Whose rows of the period, of which user or organisation (type and code), and how many at most."""

    subject: UUID | None = None
    user: Annotated[str, Field(max_length=255, pattern=TEXT)] | None = None
    organisation: tuple[SmallInt, Annotated[str, Field(max_length=20, pattern=TEXT)]] | None = None
    limit: Annotated[int, Field(ge=1, le=ROWS_MOST)] = ROWS_MOST


def access_routes(of: Callable[[Request], Database]) -> APIRouter:
    """Make the routes; `of` gives the service's own database."""
    router = APIRouter(prefix="/internal/operations/access-log", dependencies=[internal_only("operator")])
    own = Annotated[Database, at_once(of)]

    @router.post("")
    async def asked_for(body: AskBody, database: own) -> Response:
        asked = Asked(body.since, body.until, body.subject, body.user, body.organisation)
        return json_response({"rows": await access_queries.rows(database, asked, body.limit)})

    @router.post("/reads")
    async def reads(body: PeriodBody, database: own) -> Response:
        return json_response({"reads": await access_queries.reads_by_user(database, body.since, body.until)})

    return router
