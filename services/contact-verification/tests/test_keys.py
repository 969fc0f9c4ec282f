"""Sealing, the blind index, codes from salts, and the rotation of keys beside a running service."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidTag
from pydantic import SecretStr

from contact_verification.keys import BlindIndex, Codes, Keys, UnknownKey, Vault
from contact_verification.rotation import Progress, rotate
from contact_verification.settings import Settings
from contact_verification.testing import CASE_WORKER, EMAIL, Start, World
from servicekit.data.postgres import Database
from servicekit.testing import eventually

OLD, NEW = "k1:a data key of sixteen bytes", "k2:another key of sixteen bytes"
OLD_BLIND, NEW_BLIND = "a blind key of sixteen bytes", "another blind key of sixteen bytes"


def with_keys(settings: Settings, **texts: str) -> Settings:
    return settings.model_copy(update={name: SecretStr(text) for name, text in texts.items()})


def test_a_sealed_text_opens_in_its_own_row_only() -> None:
    vault, row = Vault.from_text(OLD), uuid4()
    sealed = vault.seal("+4520123456", row)
    assert vault.open(sealed, row) == "+4520123456"
    assert vault.seal("+4520123456", row) != sealed
    with pytest.raises(InvalidTag):
        vault.open(sealed, uuid4())


def test_the_first_key_seals_and_the_others_open() -> None:
    row = uuid4()
    old = Vault.from_text(OLD).seal("x", row)
    both = Vault.from_text(f"{NEW},{OLD}")
    assert both.open(old, row) == "x"
    assert both.seal("x", row).key_id == "k2"
    with pytest.raises(UnknownKey):
        Vault.from_text(NEW).open(old, row)


@pytest.mark.parametrize("text", ["", "k1", "k1:short", ":a data key of sixteen bytes", f"{OLD},{OLD}"])
def test_keys_that_are_not_written_as_they_should_be_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        Vault.from_text(text)


def test_the_blind_index_is_keyed_and_knows_the_type() -> None:
    one, other = BlindIndex("a blind key of sixteen bytes"), BlindIndex("another key of sixteen bytes")
    assert one.of(1, "+4520123456") == one.of(1, "+4520123456")
    assert len({one.of(1, "x"), one.of(2, "x"), other.of(1, "x"), one.of(1, "y")}) == 4


def test_an_earlier_blind_key_finds_and_the_present_one_hashes() -> None:
    old, both = BlindIndex(OLD_BLIND), BlindIndex.from_text(f"{NEW_BLIND}, {OLD_BLIND}")
    assert both.of(1, "x") == BlindIndex(NEW_BLIND).of(1, "x")
    assert both.all_of(1, "x") == [both.of(1, "x"), old.of(1, "x")]
    assert (old.changes, both.changes) == (False, True)
    with pytest.raises(ValueError, match="16 characters"):
        BlindIndex.from_text(f"{NEW_BLIND},short")


def test_codes_have_six_digits_and_are_spread_over_all_of_them() -> None:
    codes, period = Codes("a code key of sixteen bytes"), uuid4()
    made = [codes.code(Codes.new_salt(), period) for _ in range(2_000)]
    assert all(len(code) == 6 and code.isdigit() for code in made)
    assert len(set(made)) > 1_980
    assert {code[0] for code in made} == set("0123456789")


def test_a_code_follows_from_its_salt_and_is_bound_to_the_value() -> None:
    codes, salt, period = Codes("a code key of sixteen bytes"), Codes.new_salt(), uuid4()
    code = codes.code(salt, period)
    assert codes.matches(code, salt, period)
    # One other value in a million has the same code.
    assert not all(codes.matches(code, salt, uuid4()) for _ in range(3))
    assert Codes("another key of sixteen bytes").code(salt, period) != code


@pytest.mark.infra
async def test_rotation_reseals_all_shows_its_progress_and_can_be_repeated(world: World) -> None:
    people = [await world.resident() for _ in range(5)]
    for person in people:
        await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    await world.prepare(people[0], mail="prepared@example.com")
    told: list[Progress] = []
    keys = Keys.from_settings(with_keys(world.settings, data_keys=f"{NEW},{OLD}"))
    assert await rotate(world.database, keys, told.append) == 6
    assert (told[0].table, told[0].done, told[0].total) == ("periods", 5, 5)
    assert await rotate(world.database, keys, told.append) == 0
    used = await world.database.fetch("select distinct key_id from periods")
    assert [row["key_id"] for row in used] == ["k2"]
    rows = await world.database.fetch("select id, key_id, box from periods")
    assert len(rows) == 5


@pytest.mark.infra
async def test_rotation_waits_for_who_holds_a_row_and_leaves_none_under_the_earlier_key(world: World) -> None:
    people = [await world.resident() for _ in range(3)]
    for person in people:
        await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    keys = Keys.from_settings(with_keys(world.settings, data_keys=f"{NEW},{OLD}"))
    async with world.database.pool.acquire() as conn, conn.transaction():
        held = "select from periods where person_id = $1 for update"
        await conn.execute(held, people[0].person_id)
        rotating = asyncio.create_task(rotate(world.database, keys, lambda _: None))

        async def waits_or_is_done() -> None:
            assert rotating.done() or await conn.fetchval("select count(*) from pg_locks where not granted")

        await eventually(waits_or_is_done)
    assert await rotating == 3
    assert {row[0] for row in await world.database.fetch("select key_id from periods")} == {"k2"}


@pytest.mark.infra
async def test_rotation_waits_for_who_holds_a_row_longer_than_any_call_would(world: World) -> None:
    await world.resident(EMAIL)
    keys = Keys.from_settings(with_keys(world.settings, data_keys=f"{NEW},{OLD}"))
    hurried = world.settings.postgres.model_copy(update={"lock_timeout": timedelta(milliseconds=50)})
    database = await Database.connect(hurried, "rotating")
    try:
        async with world.database.pool.acquire() as conn, conn.transaction():
            await conn.execute("select from periods for update")
            rotating = asyncio.create_task(rotate(database, keys, lambda _: None))
            await asyncio.wait([rotating], timeout=0.5)
            assert not rotating.done()
        assert await rotating == 1
    finally:
        await database.close()


@pytest.mark.infra
async def test_a_service_with_both_keys_reads_what_either_has_sealed(world: World, start: Start) -> None:
    person = await world.resident(EMAIL)
    settings = with_keys(world.settings, data_keys=f"{NEW},{OLD}")
    async with start(settings) as newer:
        assert (await newer.contacts(person))[EMAIL][0] == person.mail
        await rotate(newer.database, Keys.from_settings(settings), lambda _: None)
        assert (await newer.contacts(person))[EMAIL][0] == person.mail


@pytest.mark.infra
async def test_beside_who_writes_with_the_new_key_first_whoever_has_it_last_opens_and_finds(
    world: World, start: Start
) -> None:
    """An instance that knows the old keys alone does neither: so a new key comes last before it comes first."""
    person = await world.resident()

    async def is_found(by: World) -> bool:
        return len((await by.find(CASE_WORKER, person.mail)).json()["CprCollection"]) == 1

    data, blind = world.settings.data_keys.get_secret_value(), world.settings.blind_secret.get_secret_value()
    added = with_keys(world.settings, data_keys=f"{data},{NEW}", blind_secret=f"{blind},{NEW_BLIND}")
    moved = with_keys(world.settings, data_keys=f"{NEW},{data}", blind_secret=f"{NEW_BLIND},{blind}")
    async with start(added) as reader, start(moved) as writer:
        await writer.save(CASE_WORKER, person, {EMAIL: person.mail})
        assert await writer.database.fetchval("select key_id from periods") == "k2"
        state = await reader.contacts(person)
        assert state[EMAIL][0] == person.mail
        assert await is_found(reader)
        await reader.save(CASE_WORKER, person, {EMAIL: person.mail})
        assert await writer.contacts(person) == state
    assert not await is_found(world)


@pytest.mark.infra
async def test_values_are_found_before_while_and_after_they_are_hashed_with_another_key(
    world: World, start: Start
) -> None:
    person = await world.resident(EMAIL)
    assert (await world.verify(person, EMAIL, await world.code(person, EMAIL))).status_code == 200
    state = await world.contacts(person)
    both = with_keys(world.settings, blind_secret=f"{NEW_BLIND},{OLD_BLIND}")

    async def is_found(by: World) -> None:
        assert len((await by.find(CASE_WORKER, person.mail)).json()["CprCollection"]) == 1

    async with start(both) as newer:
        await is_found(newer)
        await newer.save(CASE_WORKER, person, {EMAIL: person.mail})
        assert await newer.contacts(person) == state
        told: list[Progress] = []
        assert await rotate(newer.database, Keys.from_settings(both), told.append) == 1
        assert [(one.table, one.done, one.total) for one in told] == [("look-up", 1, 1)]
        await is_found(newer)
    async with start(with_keys(world.settings, blind_secret=NEW_BLIND)) as newest:
        await is_found(newest)
        await newest.save(CASE_WORKER, person, {EMAIL: person.mail})
        assert await newest.contacts(person) == state
        limits = await newest.database.fetch("select s.blind = p.blind from code_sends s, periods p")
        assert [row[0] for row in limits] == [True]


@pytest.mark.infra
async def test_values_that_were_hashed_in_another_form_are_found_once_they_are_hashed_anew_with_the_same_key(
    world: World, start: Start
) -> None:
    person, mail = await world.resident(), "jens@straße.dk"
    await world.save(CASE_WORKER, person, {EMAIL: mail})
    blind = Keys.from_settings(world.settings).blind
    await world.database.execute("update periods set blind = $1", blind.of(EMAIL, "jens@strasse.dk"))
    twice = with_keys(world.settings, blind_secret=f"{OLD_BLIND},{OLD_BLIND}")
    assert await rotate(world.database, Keys.from_settings(twice), lambda _: None) == 1
    assert len((await world.find(CASE_WORKER, mail)).json()["CprCollection"]) == 1
    assert (await world.find(CASE_WORKER, "jens@strasse.dk")).json()["CprCollection"] == []


@pytest.mark.infra
async def test_the_limits_of_an_address_count_what_was_sent_under_each_key(
    world: World, start: Start
) -> None:
    people = [await world.resident() for _ in range(7)]
    to: dict[int, str | None] = {EMAIL: "same@example.com"}
    sends = "select count(*) from code_sends"
    for person in people[:5]:
        await world.save(CASE_WORKER, person, to)
        await world.database.execute("update code_sends set made_at = made_at - interval '61 seconds'")
    both = with_keys(world.settings, blind_secret=f"{NEW_BLIND},{OLD_BLIND}")
    async with start(both) as newer:
        await newer.save(CASE_WORKER, people[5], to)
        assert await newer.database.fetchval(sends) == 5
        await newer.database.execute("delete from code_sends")
        await newer.save(CASE_WORKER, people[6], to)
        assert await newer.database.fetchval(sends) == 1
        # Hashed with the earlier key, while what was sent last is counted under the present one.
        assert (await newer.request_new(people[0], EMAIL)).status_code == 429
