import asyncio
import struct
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.faults import Fault, FieldError, Unavailable
from cv_contracts.topics import TOPICS
from servicekit.data.consistency import Applied, ConsistencyToken, parse
from servicekit.testing import in_skipped_time

STREAM = "cv-registry.cv-changed"
SUBJECT = UUID(int=7)

entries = st.dictionaries(
    st.tuples(st.sampled_from([topic.name for topic in TOPICS]), st.uuids()),
    st.integers(0, 2**63 - 1),
    max_size=64,
)


@given(entries)
def test_a_token_survives_the_way_to_the_caller_and_back(token: dict[tuple[str, UUID], int]) -> None:
    assert parse(ConsistencyToken(token).encode()).entries == token


@given(entries)
def test_a_token_fits_a_header(token: dict[tuple[str, UUID], int]) -> None:
    encoded = ConsistencyToken(token).encode()
    assert encoded.isascii()
    assert not set(encoded) & set(" ,=\r\n")
    assert len(encoded) < 3_000


def test_a_write_s_token_says_what_it_published() -> None:
    event = CVChanged(id=uuid4(), subject=SUBJECT, version=5, time=datetime.now(UTC), change="replaced")
    assert ConsistencyToken.of(event).entries == {(STREAM, SUBJECT): 5}


def test_several_tokens_are_merged_to_the_highest_versions() -> None:
    one = ConsistencyToken({(STREAM, SUBJECT): 5, ("cv-status.status-set", SUBJECT): 2})
    two = ConsistencyToken({(STREAM, SUBJECT): 4, (STREAM, UUID(int=8)): 1})
    merged = parse(f"{one.encode()}, {two.encode()}")
    assert merged == one | two
    assert merged.entries == {
        (STREAM, SUBJECT): 5,
        ("cv-status.status-set", SUBJECT): 2,
        (STREAM, UUID(int=8)): 1,
    }


def test_the_highest_version_counts_in_whatever_order_the_tokens_come() -> None:
    low, high = (ConsistencyToken({(STREAM, SUBJECT): version}) for version in (4, 5))
    assert low | high == high | low == high
    assert parse(f"{low.encode()},{high.encode()}") == high


def test_the_same_content_is_the_same_header_in_whatever_order_it_was_seen() -> None:
    seen = [((topic.name, UUID(int=n)), n + 1) for n, topic in enumerate(TOPICS)]
    assert ConsistencyToken(dict(seen)).encode() == ConsistencyToken(dict(reversed(seen))).encode()


@pytest.mark.parametrize("header", [None, "", "  "])
def test_no_header_is_an_empty_token(header: str | None) -> None:
    assert not parse(header).entries


GOOD = ConsistencyToken({(STREAM, SUBJECT): 5}).encode()


@pytest.mark.parametrize(
    "header",
    [
        "x",
        "æøå",
        "not a token",
        GOOD[:-1],
        GOOD[:20],
        GOOD[:-6] + "AAAAAA",
        GOOD + ",",
        f"{GOOD},,{GOOD}",
        urlsafe_b64encode(b"\x01\x00").decode(),
        urlsafe_b64encode(b"\x02" + b"0" * 40).decode(),
        "A" * 20_000,
    ],
)
def test_a_malformed_token_is_fault_1014_naming_the_header(header: str) -> None:
    with pytest.raises(Fault) as fault:
        parse(header)
    assert fault.value.code == 1014
    assert fault.value.errors == (FieldError("x-consistency-token", "is not a token of this system"),)


ENTRY = struct.pack(">B16sq", 0, SUBJECT.bytes, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x01",
        b"\x01\x02\x01a",
        b"\x01\x01\x02\xc3\x28" + ENTRY,
        b"\x01\x00" + ENTRY,
        b"\x01\x01\x01a" + ENTRY[:-1],
        b"\x02\x01\x01a" + ENTRY,
    ],
)
def test_a_token_with_a_right_check_sum_that_says_nothing_is_fault_1014(data: bytes) -> None:
    """Anybody can make one: the check sum is no secret."""
    with pytest.raises(Fault) as fault:
        parse(_with_check_sum(data))
    assert fault.value.code == 1014


def test_such_a_token_made_as_it_should_be_is_read() -> None:
    assert parse(_with_check_sum(b"\x01\x01\x01a" + ENTRY)).entries == {("a", SUBJECT): 5}


def _with_check_sum(data: bytes) -> str:
    return urlsafe_b64encode(data + struct.pack(">I", crc32(data))).decode()


def test_a_header_is_no_longer_than_16_kib_whatever_it_says() -> None:
    copies = 16_384 // (len(GOOD) + 1)
    assert parse(",".join([GOOD] * copies)).entries == parse(GOOD).entries
    with pytest.raises(Fault):
        parse(",".join([GOOD] * (copies + 1)))
    assert parse(GOOD.ljust(16_384)) == parse(GOOD)
    with pytest.raises(Fault):
        parse(GOOD.ljust(16_385))


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_anything_but_a_token_or_the_fault(data: bytes) -> None:
    header = urlsafe_b64encode(data).decode()
    code = 1014
    try:
        parse(header)
    except Fault as fault:
        code = fault.code
    assert code == 1014


def test_more_than_64_entries_are_refused_and_never_given() -> None:
    many = [ConsistencyToken({(STREAM, UUID(int=n)): n}) for n in range(65)]
    with pytest.raises(Fault) as fault:
        parse(",".join(token.encode() for token in many))
    assert fault.value.errors == (FieldError("x-consistency-token", "holds more than 64 entries"),)
    merged = ConsistencyToken()
    for token in many:
        merged |= token
    assert sorted(parse(merged.encode()).entries.values()) == list(range(1, 65))


class Table:
    """What a service has applied."""

    def __init__(self) -> None:
        self.versions: dict[UUID, int] = {}

    async def version(self, subject: UUID) -> int | None:
        return self.versions.get(subject)


@in_skipped_time
async def test_a_read_goes_on_at_once_when_the_version_is_applied() -> None:
    table = Table()
    table.versions[SUBJECT] = 6
    await Applied({STREAM: table.version}).wait(STREAM, SUBJECT, 5)
    assert asyncio.get_running_loop().time() == 0


async def test_a_read_waits_until_the_version_is_applied_here() -> None:
    table = Table()
    applied = Applied({STREAM: table.version})
    reads = [asyncio.create_task(applied.wait(STREAM, SUBJECT, 5)) for _ in range(10)]
    table.versions[SUBJECT] = 4
    applied.notify(STREAM, SUBJECT, UUID(int=9))
    done, _ = await asyncio.wait(reads, timeout=0.02)
    assert not done
    table.versions[SUBJECT] = 5
    applied.notify(STREAM, SUBJECT)
    await asyncio.wait_for(asyncio.gather(*reads), 60)


@in_skipped_time
async def test_a_read_is_woken_by_what_is_applied_here_and_does_not_look_for_it() -> None:
    table, loop = Table(), asyncio.get_running_loop()
    applied = Applied({STREAM: table.version})

    def apply() -> None:
        table.versions[SUBJECT] = 5
        applied.notify(STREAM, SUBJECT)

    loop.call_later(0.01, apply)
    await applied.wait(STREAM, SUBJECT, 5)
    assert loop.time() == pytest.approx(0.01)


@in_skipped_time
async def test_a_read_that_was_woken_by_an_earlier_version_looks_no_more_often_than_before() -> None:
    looks = 0

    async def version(_: UUID) -> int:
        nonlocal looks
        looks += 1
        assert looks < 50
        return 4

    applied = Applied({STREAM: version})
    asyncio.get_running_loop().call_later(0.01, applied.notify, STREAM, SUBJECT)
    with pytest.raises(Unavailable):
        await applied.wait(STREAM, SUBJECT, 5)
    assert looks > 30


@in_skipped_time
async def test_there_is_no_pause_while_a_read_waits_and_a_whole_one_once_none_does() -> None:
    table, other, loop = Table(), "cv-status.status-set", asyncio.get_running_loop()
    applied = Applied({STREAM: table.version, other: table.version})
    read = asyncio.create_task(applied.wait(STREAM, SUBJECT, 5))
    await asyncio.sleep(0)
    await applied.unhurried(STREAM, timedelta(seconds=60))
    assert loop.time() == 0
    table.versions[SUBJECT] = 5
    await read
    begun = loop.time()
    await applied.unhurried(STREAM, timedelta(seconds=60))
    assert loop.time() - begun == pytest.approx(60)


async def test_how_long_a_read_waited_is_told(told: Callable[[], dict[str, float]]) -> None:
    applied = Applied({STREAM: Table().version})
    await applied.wait("cv-status.status-set", SUBJECT, 5)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await applied.wait(STREAM, SUBJECT, 5, timedelta(milliseconds=1))
    assert told()["consistency.wait.duration"] == 2


async def test_a_pause_ends_when_a_read_waits_for_that_stream_and_for_no_other_reason() -> None:
    table, other = Table(), "cv-status.status-set"
    applied = Applied({STREAM: table.version, other: table.version})
    await applied.unhurried(STREAM, timedelta(milliseconds=1))
    table.versions[SUBJECT] = 4
    await applied.wait(STREAM, SUBJECT, 4)
    pauses = [
        asyncio.create_task(applied.unhurried(stream, timedelta(seconds=60))) for stream in (STREAM, other)
    ]
    done, _ = await asyncio.wait(pauses, timeout=0.01)
    assert not done
    read = asyncio.create_task(applied.wait(STREAM, SUBJECT, 5))
    await asyncio.wait_for(pauses[0], 30)
    await asyncio.wait_for(applied.unhurried(STREAM, timedelta(seconds=60)), 30)
    table.versions[SUBJECT] = 5
    applied.notify(STREAM, SUBJECT)
    await read
    assert not pauses[1].done()
    pauses[1].cancel()


async def test_a_read_also_sees_what_another_process_applied() -> None:
    table = Table()
    read = asyncio.create_task(Applied({STREAM: table.version}).wait(STREAM, SUBJECT, 5))
    await asyncio.wait({read}, timeout=0.01)
    table.versions[SUBJECT] = 5
    await asyncio.wait_for(read, 60)


async def test_a_read_that_waits_too_long_is_answered_503_with_retry_after() -> None:
    applied = Applied({STREAM: Table().version})
    with pytest.raises(Unavailable) as late:
        await applied.wait(STREAM, SUBJECT, 5, timedelta(milliseconds=50))
    assert (late.value.status, late.value.headers()["retry-after"]) == (503, "1")


async def test_a_token_is_waited_for_as_a_whole_and_only_for_streams_followed_here() -> None:
    table = Table()
    applied = Applied({STREAM: table.version})
    token = ConsistencyToken(
        {(STREAM, SUBJECT): 5, (STREAM, UUID(int=8)): 1, ("cv-status.status-set", SUBJECT): 9}
    )
    read = asyncio.create_task(applied.wait_for(token))
    await asyncio.wait({read}, timeout=0.01)
    table.versions = {SUBJECT: 5, UUID(int=8): 1}
    applied.notify(STREAM, SUBJECT, UUID(int=8))
    await asyncio.wait_for(read, 60)
    with pytest.raises(Unavailable):
        await applied.wait_for(ConsistencyToken({(STREAM, SUBJECT): 6}), timedelta(milliseconds=20))


@pytest.mark.parametrize(
    ("given", "seconds"), [((), 1), ((timedelta(seconds=2),), 2), ((timedelta(hours=1),), 5)]
)
def test_a_read_waits_a_second_or_as_long_as_it_says_but_never_longer_than_five(
    given: tuple[timedelta, ...], seconds: float
) -> None:
    @in_skipped_time
    async def waits() -> None:
        with pytest.raises(Unavailable):
            await Applied({STREAM: Table().version}).wait(STREAM, SUBJECT, 5, *given)
        assert asyncio.get_running_loop().time() == pytest.approx(seconds)

    waits()


@in_skipped_time
async def test_all_of_a_token_is_waited_for_no_longer_than_one_version() -> None:
    table, loop = Table(), asyncio.get_running_loop()
    loop.call_later(0.6, table.versions.update, {SUBJECT: 5})
    token = ConsistencyToken({(STREAM, SUBJECT): 5, (STREAM, UUID(int=8)): 1})
    with pytest.raises(Unavailable):
        await Applied({STREAM: table.version}).wait_for(token)
    assert loop.time() == pytest.approx(1)


@in_skipped_time
async def test_what_another_process_applied_is_seen_within_a_fortieth_of_a_second() -> None:
    table, loop = Table(), asyncio.get_running_loop()
    loop.call_later(0.61, table.versions.update, {SUBJECT: 5})
    await Applied({STREAM: table.version}).wait(STREAM, SUBJECT, 5)
    assert 0.61 <= loop.time() <= 0.64
