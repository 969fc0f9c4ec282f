"""Internal routes: states for followers, snapshots, moves, heartbeat, health; on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from cv_citizens.citizen import Citizen
from cv_contracts.events.cv_registry import AsylumTransitionSet, CitizenChanged
from cv_contracts.ids import CvId
from cv_contracts.topics import topic_of
from cv_registry.background import HEARTBEAT_EVERY
from cv_registry.domain import CvState
from cv_registry.life_cycle import Moved, Moving
from cv_registry.store_citizens import CitizenStore
from cv_registry.store_cvs import CvStore
from cv_registry.testing import RegistryClient, a_citizen, with_cv
from servicekit.data.postgres import Database
from servicekit.follow.freshness import FRESH_FOR
from servicekit.follow.states import Erased, Known, Unknown, from_wire
from servicekit.kafka import partition_of
from servicekit.publish.outbox import Outbox
from servicekit.publish.refused import discard

pytestmark = pytest.mark.infra


async def asked(registry: RegistryClient, path: str, body: Any, service: str = "cv-search") -> dict[str, Any]:
    response = await registry.call(
        "POST", f"/internal/{path}", body, service=service, content_type="application/json"
    )
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_a_follower_is_told_what_is_known_erased_and_unknown(
    registry: RegistryClient, database: Database
) -> None:
    citizen, erased, unknown = a_citizen(), uuid4(), uuid4()
    (ids,) = await registry.register(citizen)
    await database.execute("INSERT INTO erasures VALUES ($1, 77, now())", erased)
    body = {"subjects": [ids["personId"], str(erased), str(unknown)]}
    states = {
        s.subject: s for s in map(from_wire, (await asked(registry, "citizens/states", body))["states"])
    }
    known = states[UUID(ids["personId"])]
    assert isinstance(known, Known)
    seen = Citizen.from_state(known.subject, known.version, known.state)
    assert (seen.cv_number, seen.contact_group, len(seen.relations)) == (ids["cvNumber"], 3, 3)
    assert known.state["personNumber"] == citizen["personNumber"]
    assert states[erased] == Erased(erased, 77)
    assert states[unknown] == Unknown(unknown)
    cvs = await asked(registry, "cvs/states", {"subjects": [str(erased), str(unknown)]})
    assert {type(from_wire(state)) for state in cvs["states"]} == {Erased, Unknown}


async def test_the_state_of_a_cv_holds_its_content_and_the_version_of_its_event(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    await registry.replace(citizen["personNumber"])
    await registry.move(ids["cvId"], "ARCHIVED")
    (wire,) = (await asked(registry, "cvs/states", {"subjects": [ids["cvId"]]}))["states"]
    known = from_wire(wire)
    assert isinstance(known, Known)
    newest = await database.fetchval("SELECT max(version) FROM outbox WHERE aggregateid = $1", ids["cvId"])
    assert known.version == newest > known.state["revision"]
    assert (known.state["state"], known.state["personId"]) == ("ARCHIVED", ids["personId"])
    assert set(known.state["content"]) == {"JobConditions", "JobTargetCollection", "CV"}


async def test_a_snapshot_goes_over_everybody_by_key_order(registry: RegistryClient) -> None:
    results = await registry.register(*(a_citizen() for _ in range(25)))
    after, seen = None, []
    while True:
        page = await asked(registry, "citizens/snapshot", {"after": after, "limit": 10})
        seen += [state["subject"] for state in page["states"]]
        after = page["next"]
        if after is None:
            break
    assert seen == sorted(result["personId"] for result in results)


async def test_states_are_compressed_for_those_who_can_read_that(registry: RegistryClient) -> None:
    (ids,) = await registry.register(a_citizen())
    response = await registry.call(
        "POST",
        "/internal/citizens/states",
        {"subjects": [ids["personId"]]},
        service="cv-status",
        content_type="application/json",
        accept_encoding="gzip",
    )
    assert response.headers["content-encoding"] == "gzip"
    assert response.json()["states"]


@pytest.mark.parametrize("path", ["citizens/states", "cvs/states", "cvs/state"])
async def test_strangers_and_the_gateway_are_told_nothing(registry: RegistryClient, path: str) -> None:
    for service in ("gateway", "stranger"):
        response = await registry.call(
            "POST", f"/internal/{path}", {}, service=service, content_type="application/json"
        )
        assert response.json()["code"] == 1013


async def test_at_most_500_subjects_are_asked_for_at_once(registry: RegistryClient) -> None:
    response = await registry.call(
        "POST",
        "/internal/citizens/states",
        {"subjects": [str(uuid4())] * 501},
        service="cv-status",
        content_type="application/json",
    )
    assert response.json()["code"] == 1014


async def test_a_move_needs_a_reason_a_name_and_a_cv(registry: RegistryClient, database: Database) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    assert (await registry.move(uuid4(), "ARCHIVED")).json()["code"] == 4755
    assert (await registry.move(ids["cvId"], "ARCHIVED")).json()["code"] == 4755
    await registry.replace(citizen["personNumber"])
    for body in ({"reason": " "}, {"by": ""}, {"state": "GONE"}):
        response = await registry.call(
            "POST",
            "/internal/cvs/state",
            {"cvId": ids["cvId"], "state": "ARCHIVED", "reason": "r", "by": "b", **body},
            service="operator",
            content_type="application/json",
        )
        assert response.json()["code"] == 1014
    assert (await registry.move(ids["cvId"], "ARCHIVED")).json()["outcome"] == "applied"
    assert (await registry.move(ids["cvId"], "ARCHIVED")).json()["outcome"] == "unchanged"
    assert (await registry.move(ids["cvId"], "LOCKED")).json()["code"] == 1014
    row = await database.fetchrow("SELECT reason, moved_by, state FROM cv_state_moves")
    assert row is not None
    assert tuple(row) == ("a test", "the test", "ARCHIVED")


async def test_a_move_that_a_replace_overtakes_is_decided_again_and_has_the_higher_version(
    registry: RegistryClient, database: Database
) -> None:
    """As when the replace waited under a person number that was changed meanwhile."""
    cv_id = CvId(UUID((await with_cv(registry))["cvId"]))
    ahead = await database.fetchval("SELECT version FROM cvs") + 3_600_000_000

    class Overtaken(CvStore):
        async def for_moving(self, *asked: Any) -> Any:
            found = await super().for_moving(*asked)
            await database.execute("UPDATE cvs SET version = $1 WHERE version < $1", ahead)
            return found

    moved = await Moving(Overtaken(database, Outbox())).move(cv_id, CvState.LOCKED, "a test", "the test")
    assert moved == Moved("applied", ahead + 1)
    assert await database.fetchval("SELECT version FROM cvs WHERE state = 'LOCKED'") == ahead + 1
    assert await database.fetchval("SELECT array_agg(version) FROM cv_state_moves") == [ahead + 1]
    told = "SELECT array_agg(version ORDER BY seq) FROM outbox WHERE aggregateid = $1"
    assert (await database.fetchval(told, str(cv_id)))[1:] == [ahead + 1]


WHY = {"reason": "a test", "by": "the test"}
SOME_ID = str(UUID(int=7))


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"], ids=["NUL", "half a character"])
@pytest.mark.parametrize(
    ("route", "body", "element"),
    [
        (("citizen-intake", "cvs/state"), {"cvId": SOME_ID, "state": "LOCKED", **WHY}, "reason"),
        (("citizen-intake", "cvs/state"), {"cvId": SOME_ID, "state": "LOCKED", **WHY}, "by"),
        (("citizen-intake", "citizens/merge"), {"mergedPersonNumber": "0101901234", **WHY}, "personNumber"),
        (("citizen-intake", "citizens/merge"), {"personNumber": "0101901234", **WHY}, "mergedPersonNumber"),
        (("cv-status", "citizens/lookup"), {}, "personNumber"),
        (("cv-status", "citizens/lookup"), {}, "cvNumber"),
        (("operator", "erasures/find"), {}, "personNumber"),
        (("operator", "operations/citizens/find"), {}, "personNumber"),
        (("jobnet-login", "jobnet-accounts/login"), {"password": "x"}, "userName"),
        (("jobnet-login", "jobnet-accounts/login"), {"userName": "x"}, "password"),
    ],
)
async def test_what_is_no_text_is_refused_before_it_reaches_the_database(
    registry: RegistryClient, route: tuple[str, str], body: dict[str, Any], element: str, text: str
) -> None:
    service, path = route
    answer = await registry.call(
        "POST",
        f"/internal/{path}",
        {**body, element: text},
        service=service,
        content_type="application/json",
    )
    assert (answer.status_code, answer.json()["code"]) == (400, 1014)
    assert [error["element"] for error in answer.json()["errors"]] == [element]


def test_followers_that_miss_two_heartbeats_are_still_fresh() -> None:
    assert HEARTBEAT_EVERY * 3 < FRESH_FOR


async def test_a_heartbeat_goes_to_each_partition_once_and_never_piles_up(database: Database) -> None:
    one, two = (CitizenStore(database, Outbox()) for _ in range(2))
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    every = timedelta(seconds=5)
    assert await one.heartbeat(now, now - every) == 6
    assert await two.heartbeat(now, now - every) == 0
    assert await two.heartbeat(now + every, now) == 0
    rows = await database.fetch(
        "SELECT partition FROM outbox WHERE type LIKE '%heartbeat%' ORDER BY partition"
    )
    assert [row["partition"] for row in rows] == list(range(6))
    await database.execute("DELETE FROM outbox WHERE partition IN (2, 4)")
    assert await one.heartbeat(now + 2 * every, now + every) == 2


async def test_no_heartbeat_vouches_for_a_partition_while_an_event_of_a_citizen_in_it_is_refused(
    database: Database,
) -> None:
    store, now, every = (
        CitizenStore(database, Outbox()),
        datetime(2026, 11, 22, 12, tzinfo=UTC),
        timedelta(seconds=5),
    )
    one, other = str(UUID(int=1)), str(UUID(int=2))
    held_back, told = (partition_of(subject.encode(), 6) for subject in (one, other))
    assert held_back != told
    refuse = """
    INSERT INTO outbox_refused (seq, id, aggregatetype, aggregateid, type, payload, version, time, reason)
    VALUES ($1, gen_random_uuid(), $2, $3, 'a.b.c.d', '', 1, now(), 'too-large')
    """
    await database.execute(refuse, 1, topic_of(CitizenChanged).name, one)
    await database.execute(refuse, 2, topic_of(AsylumTransitionSet).name, other)
    assert await store.heartbeat(now, now - every) == 5
    rows = await database.fetch("SELECT partition FROM outbox ORDER BY partition")
    assert [row["partition"] for row in rows] == [n for n in range(6) if n != held_back]
    assert await discard(database, 1, reason="a test", by="the test")
    assert await store.heartbeat(now + every, now) == 1


async def test_a_registry_without_kafka_is_alive_and_ready(registry: RegistryClient) -> None:
    assert (await registry.http.get("/health/live")).status_code == 200
    ready = await registry.http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["checks"]["database"]["status"] == "ok"
    assert ready.json()["checks"]["relay"]["active"] is False
