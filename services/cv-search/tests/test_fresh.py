"""Who may be shown is decided by what is held while that is fresh, then by the registry: stale access never outlives 30 s."""

from typing import Any, Final

import httpx
import pytest
from structlog.testing import capture_logs

from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.topics import topic_of
from cv_search.testing import Someone, World
from servicekit.kafka import partition_of

pytestmark = pytest.mark.infra

STATES: Final = "/internal/citizens/states"
PARTITIONS: Final = topic_of(CitizenChanged).partitions


async def two(world: World) -> tuple[Someone, Someone]:
    """Let two be found, of whom nothing more has been heard for 31 s."""
    one, other = world.new(10000001, "vagtplan"), world.new(10000002, "vagtplan")
    await world.told(one, other)
    await world.heartbeat(31)
    world.owners.asked.clear()
    return one, other


async def shown(world: World) -> list[str]:
    return sorted(await world.found("vagtplan"))


async def pending(world: World, one: Someone) -> None:
    await world.parts.database.execute(
        "insert into pending_subjects (projection, subject, version, next_try, reason)"
        " values ('citizens', $1, 2, now() + interval '1 hour', 'owner-unreachable')",
        one.person_id,
    )


async def test_those_who_are_fresh_are_shown_and_nobody_is_asked(world: World) -> None:
    await two(world)
    await world.heartbeat(27)
    world.owners.mode = "error"
    assert await shown(world) == ["10000001", "10000002"]
    assert world.owners.asked == []


@pytest.mark.parametrize("now", [{"dead": True}, {"addressProtected": True}, None])
async def test_after_30_seconds_of_silence_who_may_not_be_shown_any_more_is_left_out_by_the_registrys_word(
    world: World, now: dict[str, Any] | None
) -> None:
    one, _ = await two(world)
    assert await shown(world) == ["10000001", "10000002"]
    if now is None:
        world.erase(one)
    else:
        world.citizen(one, 10000001, **now)
    assert await shown(world) == ["10000002"]
    assert world.owners.asked == [STATES] * 2


async def test_where_the_registry_gives_no_answer_either_there_is_none(world: World) -> None:
    one, other = await two(world)
    with capture_logs() as logged:
        for mode in ("error", "garbage"):
            world.owners.mode = mode
            answer = await world.search("vagtplan")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "Fornavn" not in answer.text
    assert {line["event"] for line in logged if line["log_level"] == "warning"} >= {
        "registry_gave_no_citizen"
    }
    assert (await world.search("findes ikke")).status_code == 200
    world.owners.mode = "ok"
    assert await shown(world) == sorted([one.cv_number, other.cv_number])


WITHOUT_KAFKA = ("broker_unreachable", "progress_not_measured")
"""What is told again and again of the Kafka that these tests do without."""


async def test_of_whom_the_registry_says_nothing_that_can_be_read_is_left_out_and_hides_nobody_else(
    world: World,
) -> None:
    one, other = await two(world)
    await world.heartbeat(0)
    await pending(world, one)
    state = world.owners.states["citizens"].pop(str(one.person_id))
    tellings: tuple[Any, ...] = (
        None,
        {**state, "state": {**state["state"], "cvId": "none"}},
        {**state, "state": {}},
        {**state, "version": "none"},
        {**state, "subject": "none"},
        "none",
    )
    for told in tellings:
        if told is not None:
            world.owners.states["citizens"][str(one.person_id)] = told
        with capture_logs() as logged:
            answer = await world.search("vagtplan")
        assert answer.status_code == 200, answer.text
        result = answer.json()["SearchCVTextResult"]
        assert [person["CVNumber"] for person in result["CVPersons"]] == [other.cv_number]
        assert result["TotalResults"] == 2
        warned = [line for line in logged if line["log_level"] == "warning"]
        assert [line for line in warned if line["event"] not in WITHOUT_KAFKA] == [
            {"event": "citizens_unconfirmed", "count": 1, "log_level": "warning"}
        ]
    world.owners.states["citizens"][str(one.person_id)] = state
    assert await shown(world) == sorted([one.cv_number, other.cv_number])


async def test_what_counts_is_what_was_heard_of_the_persons_own_partition(world: World) -> None:
    one, _ = await two(world)
    world.citizen(one, 10000001, dead=True)
    own = partition_of(str(one.person_id).encode(), PARTITIONS)
    others = set(range(PARTITIONS)) - {own}
    await world.heartbeat(0)
    await world.heartbeat(31, others)
    assert "10000001" in await shown(world)
    await world.heartbeat(31, [own])
    await world.heartbeat(0, others)
    assert await shown(world) == ["10000002"]


async def test_who_waits_to_be_fetched_is_asked_for_and_others_are_not(world: World) -> None:
    one, other = await two(world)
    await world.heartbeat(0)
    world.citizen(one, 10000001, dead=True)
    world.citizen(other, 10000002, dead=True)
    await pending(world, one)
    assert await shown(world) == ["10000002"]


async def test_documents_that_are_not_made_of_the_live_citizens_yet_are_not_fresh(world: World) -> None:
    """The partitions of a projection that was built anew lack nothing any more, what was made of it before may."""
    one, _ = await two(world)
    await world.heartbeat(0)
    world.citizen(one, 10000001, dead=True)
    assert await shown(world) == ["10000001", "10000002"]
    await world.parts.database.execute(
        "update search_state set made_from = (made_from::jsonb || '{\"citizens\": 0}')::text,"
        " making = 'another instance is at it'"
    )
    assert await shown(world) == ["10000002"]


async def test_who_is_left_out_is_on_no_page_and_of_few_still_noted(world: World) -> None:
    one, other = await two(world)
    first: httpx.Response = await world.search("vagtplan", ResultsPerPage=100)
    world.citizen(one, 10000001, dead=True)
    number = first.json()["SearchCVTextResult"]["Id"]
    again = (await world.search(Id=number, ResultsPerPage=100)).json()["SearchCVTextResult"]
    assert [person["CVNumber"] for person in again["CVPersons"]] == [other.cv_number]
    noted = await world.parts.database.fetch("select detail -> 'shown' as shown from access_log")
    assert [len(row["shown"].split(",")) for row in noted] == [2, 2]
