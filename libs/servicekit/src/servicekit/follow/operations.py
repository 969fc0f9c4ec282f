"""Internal routes by which an operator looks at what a service follows and publishes, and decides about what is stuck."""

import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import Field, StringConstraints

from cv_contracts.wire.common import TEXT
from servicekit.data.postgres import Database
from servicekit.follow import deciding
from servicekit.follow.deciding import Decision, ReadAgain, Why
from servicekit.follow.erasing import erasure_routes
from servicekit.follow.follower import Follower
from servicekit.follow.generations import Generations
from servicekit.follow.projection import Projection
from servicekit.follow.rebuild import BuildProgress, Rebuild
from servicekit.follow.verify import NothingLive, verify
from servicekit.publish import refused
from servicekit.web.access_routes import access_routes
from servicekit.web.http import at_once, internal_only
from servicekit.web.internal import InternalBody, json_response

__all__ = ["Operations", "WhyBody", "operation_routes", "operator_routes"]

OPERATOR: Final = "operator"
LISTED: Final = 1_000
BigInt = Annotated[int, Field(ge=0, lt=2**63)]

_COUNTS = """
select
    (select count(*) from pending_subjects where projection = $1) as pending,
    (select extract(epoch from now() - min(first_seen))::float8 from pending_subjects where projection = $1) as pending_age,
    (select count(*) from unreadable_records where projection = $1) as unreadable,
    (select count(*) from follow_positions where projection = $1 and gap_at is not null) as gaps
"""


@dataclass(frozen=True, slots=True)
class Operations:
    """What an operator can get at in one service; `follower` is None where nothing is followed."""

    database: Database
    follower: Follower | None = None
    read_again: Mapping[str, ReadAgain] = field(default_factory=dict)
    """What takes in records after all, for those who follow without a projection."""

    @property
    def projections(self) -> Sequence[Projection]:
        return () if self.follower is None else self.follower.projections

    def projection(self, name: str) -> Projection:
        """Give a projection by name; 404 if there is none."""
        for projection in self.projections:
            if projection.name == name:
                return projection
        raise HTTPException(404)

    def reading_again(self, name: str) -> ReadAgain:
        """Give what takes in records after all that could not be read; 404 if nobody keeps any under this name."""
        return self.read_again.get(name) or deciding.reading_again(self.projection(name))

    def rebuild(self, name: str) -> Rebuild:
        """Give what builds a projection; 404 if nothing does."""
        rebuild = None if self.follower is None else self.follower.rebuilds.of.get(name)
        if rebuild is None:
            raise HTTPException(404)
        return rebuild

    async def show(self, projection: Projection) -> dict[str, Any]:
        """Say where a projection stands."""
        counts = await self.database.fetchrow(_COUNTS, projection.name)
        known = await Generations(self.database, projection.name).all()
        health = None if self.follower is None else self.follower.health
        standing = None if health is None else health.standing_of(projection.name)
        return {
            "name": projection.name,
            "topic": projection.topic.name,
            "live": next((g.number for g in known if g.status == "live"), None),
            "building": next((_progress(BuildProgress.of(g)) for g in known if g.status == "building"), None),
            "lag": None if health is None else health.lag_of(projection.name),
            "heartbeatAge": None if standing is None else standing.heartbeat_age,
            **({} if counts is None else dict(counts.items())),
        }


class WhyBody(InternalBody):
    """Who decides, and why."""

    who: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=TEXT)]
    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=TEXT)
    ]

    @property
    def why(self) -> Why:
        return Why(self.who, self.reason)


class PendingBody(WhyBody):
    """A decision about subjects that wait; without `subjects` about all of the projection."""

    projection: str
    subjects: Annotated[list[UUID], Field(min_length=1, max_length=LISTED)] | None = None


class UnreadableBody(WhyBody):
    """A decision about records that could not be read, by their ids in the list."""

    projection: str
    ids: Annotated[list[BigInt], Field(min_length=1, max_length=LISTED)]


class RefusedBody(WhyBody):
    """A decision about a record that Kafka refused, by its number in the list."""

    seq: BigInt


def operation_routes(of: Callable[[Request], Operations]) -> APIRouter:
    """Make the routes; `of` is a dependency that gives the service's own."""
    router = APIRouter(prefix="/internal/operations", dependencies=[internal_only(OPERATOR)])
    operations = Annotated[Operations, at_once(of)]
    _add_about(router, operations)
    _add_projections(router, operations)
    _add_rows(router, operations)

    def database(request: Request) -> Database:
        return of(request).database

    whole = APIRouter()
    whole.include_router(router)
    whole.include_router(access_routes(database))
    return whole


def operator_routes() -> APIRouter:
    """Make all routes that every service has for its operator, from the `operations` and `erasures` of its parts."""
    router = APIRouter()
    router.include_router(operation_routes(lambda request: request.app.state.parts.operations))
    router.include_router(erasure_routes(lambda request: request.app.state.parts.erasures))
    return router


def _add_about(router: APIRouter, operations: Any) -> None:
    @router.get("/about")
    async def about(parts: operations) -> Response:
        """Say what this process runs on: versions, migrations applied, its clock and its database's, the room on its disk."""
        disk = shutil.disk_usage(tempfile.gettempdir())
        database_time = await parts.database.fetchval("select extract(epoch from clock_timestamp())::float8")
        applied = await parts.database.fetch("select package, name from schema_migrations order by 1, 2")
        return json_response(
            {
                "python": platform.python_version(),
                "postgres": int(await parts.database.fetchval("show server_version_num")),
                "migrations": [[row["package"], row["name"]] for row in applied],
                "time": time.time(),
                "databaseTime": database_time,
                "disk": {"free": disk.free, "total": disk.total},
            }
        )


def _add_projections(router: APIRouter, operations: Any) -> None:
    @router.get("/projections")
    async def projections(parts: operations) -> Response:
        return json_response({"projections": [await parts.show(p) for p in parts.projections]})

    @router.post("/projections/{name}/rebuild")
    async def rebuild(name: str, body: WhyBody, parts: operations) -> Response:
        builder = parts.rebuild(name)
        async with parts.database.write(builder.generations.key) as tx:
            begun = await builder.generations.start(tx)
            await body.why.note(tx, "rebuild", f"{name} {begun.number}")
            tx.after_commit(builder.wake)
        return json_response({"generation": begun.number})

    @router.post("/projections/{name}/rebuild/accept-fewer")
    async def accept_fewer(name: str, body: WhyBody, parts: operations) -> Response:
        return await _decide_build(parts, name, body.why, "accept fewer")

    @router.post("/projections/{name}/rebuild/give-up")
    async def give_up(name: str, body: WhyBody, parts: operations) -> Response:
        return await _decide_build(parts, name, body.why, "give up")

    @router.post("/projections/{name}/verify")
    async def verified(name: str, parts: operations) -> Response:
        projection = parts.projection(name)
        if projection.owner is None:
            raise HTTPException(404)
        try:
            result = await verify(parts.database, name, projection.owner)
        except NothingLive:
            raise HTTPException(409) from None
        differences = [{**asdict(one), "kind": one.kind} for one in result.differences]
        return json_response({"compared": result.compared, "total": result.total, "differences": differences})


async def _decide_build(parts: Operations, name: str, why: Why, action: str) -> Response:
    builder = parts.rebuild(name)
    async with parts.database.write(builder.generations.key) as tx:
        decide = builder.generations.give_up if action == "give up" else builder.generations.accept_fewer
        if not await decide(tx):
            raise HTTPException(409)
        await why.note(tx, action, name)
        tx.after_commit(builder.wake)
    return json_response({})


def _add_rows(router: APIRouter, operations: Any) -> None:
    @router.get("/pending")
    async def pending(parts: operations, projection: str | None = None) -> Response:
        if projection is not None:
            parts.projection(projection)
        return json_response({"rows": await deciding.pending(parts.database, projection, LISTED)})

    @router.post("/pending/{decision}")
    async def decide_pending(decision: Decision, body: PendingBody, parts: operations) -> Response:
        name = parts.projection(body.projection).name
        return _count(await deciding.decide_pending(parts.database, name, body.subjects, decision, body.why))

    @router.get("/unreadable")
    async def unreadable(parts: operations, projection: str | None = None) -> Response:
        if projection is not None:
            parts.reading_again(projection)
        return json_response({"rows": await deciding.unreadable(parts.database, projection, LISTED)})

    @router.post("/unreadable/{decision}")
    async def decide_unreadable(decision: Decision, body: UnreadableBody, parts: operations) -> Response:
        # Rows of a projection that this release has no more cannot be read again, and still be given up.
        read_again = parts.reading_again(body.projection) if decision == "retry" else None
        done = await deciding.decide_unreadable(
            parts.database, body.projection, body.ids, decision, body.why, read_again=read_again
        )
        return _count(done)

    @router.get("/refused")
    async def refused_records(parts: operations) -> Response:
        return json_response({"rows": await refused.refused(parts.database, LISTED)})

    @router.post("/refused/{decision}")
    async def decide_refused(decision: Decision, body: RefusedBody, parts: operations) -> Response:
        decide = refused.retry if decision == "retry" else refused.discard
        done = await decide(parts.database, body.seq, reason=body.reason, by=body.who)
        return _count(int(done))


def _progress(progress: BuildProgress) -> dict[str, Any]:
    return {
        **asdict(progress),
        "rate": round(progress.rate, 1),
        "secondsLeft": progress.seconds_left,
    }


def _count(count: int) -> Response:
    return json_response({"count": count})
