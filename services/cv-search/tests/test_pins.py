"""Searches are kept for their later pages: for a while, for their caller, in bounded room, the oldest out first."""

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from cv_citizens.testing import JOBCENTER, MUNICIPALITY, a_caller
from cv_contracts.faults import Fault
from cv_search.pins import FEW, OVERHEAD, Kept, Pin, Pins, owner_of
from cv_search.port import ID_BYTES
from cv_search.query import Page
from cv_search.settings import PinSettings
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra

MINE = owner_of(a_caller(JOBCENTER))
FIRST = Page(1, 10)


@pytest.fixture
async def database(fresh_database: FreshDatabase) -> AsyncIterator[Database]:
    database = await Database.connect(await fresh_database("cv_search.migrations"), "test")
    yield database
    await database.close()


def pins_of(database: Database, **settings: object) -> Pins:
    return Pins(database, PinSettings.model_validate(settings))


async def keep(pins: Pins, ids: list[UUID]) -> UUID:
    pin = Pin(len(ids), len(ids), {}, b"")
    return await pins.keep(MINE, pin, b"".join(one.bytes for one in ids))


async def is_kept(pins: Pins, number: UUID) -> bool:
    try:
        await pins.page(number, MINE, FIRST)
    except Fault:
        return False
    return True


async def test_any_instance_cuts_pages_from_the_result_as_it_was(database: Database) -> None:
    ids = [uuid4() for _ in range(25)]
    here, there = pins_of(database), pins_of(database)
    pin = Pin(30, 25, {"SearchString": 1}, b'"Cities":[]')
    number = await here.keep(MINE, pin, b"".join(one.bytes for one in ids))
    pages = [await there.page(number, MINE, Page(page, 10)) for page in (1, 2, 3, 4)]
    assert pages == [(pin, ids[:10]), (pin, ids[10:20]), (pin, ids[20:]), (pin, [])]


async def test_of_few_all_are_given_with_any_page(database: Database) -> None:
    pins, ids = pins_of(database), [uuid4() for _ in range(FEW)]
    few = Pin(FEW, FEW, {}, b"")
    number = await pins.keep(MINE, few, b"".join(one.bytes for one in ids))
    assert [(await pins.page(number, MINE, Page(page, 10)))[1] for page in (1, 2, 9)] == [ids] * 3


async def test_an_id_is_good_for_its_time(database: Database) -> None:
    pins = pins_of(database, lifetime=60)
    young, old = await keep(pins, [uuid4()]), await keep(pins, [uuid4()])
    await database.execute(
        "update kept_searches set made_at = made_at - interval '1 minute' where id = $1", old
    )
    assert (await is_kept(pins, young), await is_kept(pins, old)) == (True, False)
    await pins.tidy()
    assert (await pins.kept()).searches == 1


async def test_an_id_is_of_no_use_to_anybody_else_and_the_fault_names_it(database: Database) -> None:
    pins = pins_of(database)
    number = await keep(pins, [uuid4()])
    others = (
        a_caller(JOBCENTER, client="client-2"),
        a_caller(JOBCENTER, user="sb2"),
        a_caller(MUNICIPALITY),
    )
    for other in others:
        with pytest.raises(Fault) as raised:
            await pins.page(number, owner_of(other), FIRST)
        assert raised.value.code == 1014
        assert [error.element for error in raised.value.errors] == ["searchInput.Id"]


def test_each_part_of_who_calls_makes_another_owner() -> None:
    mine = a_caller(JOBCENTER)
    others = (
        replace(mine, client="client-2"),
        replace(mine, own=MUNICIPALITY),
        replace(mine, active=MUNICIPALITY),
        replace(mine, request_organisation=MUNICIPALITY),
        replace(mine, user=replace(mine.user, name="En Anden")),
        replace(mine, user=replace(mine.user, type=3)),
        replace(mine, user=replace(mine.user, identifier="sb2")),
    )
    assert len({owner_of(caller) for caller in (mine, *others)}) == 1 + len(others)
    assert owner_of(a_caller(JOBCENTER)) == MINE


async def test_groups_take_room_too_and_what_just_fits_stays(database: Database) -> None:
    pins = pins_of(database, memory_mb=1)
    half = Pin(0, 0, {}, b"x" * ((1 << 19) - OVERHEAD))
    first, second = [await pins.keep(MINE, half, b"") for _ in range(2)]
    await pins.tidy()
    assert (await pins.kept()) == Kept(2, 1 << 20)
    third = await pins.keep(MINE, half, b"")
    await pins.tidy()
    assert [await is_kept(pins, number) for number in (first, second, third)] == [False, True, True]


async def test_room_is_bounded_and_the_oldest_leave_first(database: Database) -> None:
    pins = pins_of(database, memory_mb=1)
    numbers = [await keep(pins, [uuid4()] * (200_000 // ID_BYTES)) for _ in range(8)]
    await pins.tidy()
    assert [await is_kept(pins, number) for number in numbers] == [False] * 3 + [True] * 5
    assert (await pins.kept()).bytes <= 1 << 20
