"""Internal routes by which an operator asks who looked at whom. Who is asked about stands in the body, never in the URL."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from servicekit.data import access_queries
from servicekit.data.access_queries import Asked
from servicekit.data.postgres import Database
from servicekit.web.http import at_once, internal_only

ROWS_MOST: Final = 10_000


class _Period(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    since: AwareDatetime
    until: AwareDatetime


class AskBody(_Period):
    """Whose rows, of which user or organisation (type and code), and how many at most."""

    subject: UUID | None = None
    user: Annotated[str, Field(max_length=255)] | None = None
    organisation: tuple[int, Annotated[str, Field(max_length=20)]] | None = None
    limit: Annotated[int, Field(ge=1, le=ROWS_MOST)] = ROWS_MOST


class ReadsBody(_Period):
    """The period in which looks are counted."""


def access_routes(of: Callable[[Request], Database]) -> APIRouter:
    """Make the routes; `of` gives the service's own database."""
    router = APIRouter(prefix="/internal/operations/access-log", dependencies=[internal_only("operator")])
    own = Annotated[Database, at_once(of)]

    @router.post("")
    async def asked_for(body: AskBody, database: own) -> Response:
        asked = Asked(body.since, body.until, body.subject, body.user, body.organisation)
        return _json({"rows": await access_queries.rows(database, asked, body.limit)})

    @router.post("/reads")
    async def reads(body: ReadsBody, database: own) -> Response:
        return _json({"reads": await access_queries.reads_by_user(database, body.since, body.until)})

    return router


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body, default=_text), media_type="application/json")


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
