"""The way to an owner, over real TCP, with an owner that hangs, cuts, lies and crowds."""

import asyncio
import gc
import weakref
from datetime import timedelta

import pytest

from servicekit.testing import eventually, is_now
from servicekit.web.connection import Cut, Garbled, Late, Unreachable, UpstreamError
from servicekit.web.upstream import Forward, Owner, OwnerLimits
from servicekit.web.upstream_testing import (
    CHUNKED,
    LIMITS,
    LONG,
    READ,
    SHORT,
    WRITE,
    Answering,
    Received,
    ScriptedOwner,
    cut,
    hang,
    plain,
    raw,
    within,
)


async def test_a_connection_is_used_again(owner: Owner, scripted: ScriptedOwner) -> None:
    scripted.script = [plain(b"1"), CHUNKED, plain(b"", "204 No Content"), plain(b"3")]
    bodies = [(await owner.send(READ, within(LONG))).body for _ in range(4)]
    assert bodies == [b"1", b"abcdefg", b"", b"3"]
    assert scripted.connections == 1
    assert owner.busy == 0


async def test_the_request_is_whole_and_says_how_much_time_is_left(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    await owner.send(WRITE, within(LONG))
    request = scripted.received[0]
    assert request.line == "PUT /thing HTTP/1.1"
    assert request.body == WRITE.body
    assert request.header("content-length") == "7"
    assert f"http://{request.header('host')}" == scripted.url
    assert 4000 < int(request.header("x-deadline-ms") or 0) <= 5000


async def test_a_prefix_of_the_base_url_is_kept(scripted: ScriptedOwner) -> None:
    owner = Owner(scripted.url + "/base/", LIMITS)
    await owner.send(READ, within(LONG))
    assert scripted.received[0].line == "GET /base/thing HTTP/1.1"
    owner.close()


async def test_interim_answers_are_passed_over(owner: Owner, scripted: ScriptedOwner) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    scripted.script = [raw(early + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-c: 3\r\n\r\nok")]
    answer = await owner.send(READ, within(LONG))
    assert (answer.status, answer.body, answer.headers) == (
        200,
        b"ok",
        [(b"content-length", b"2"), (b"x-c", b"3")],
    )
    await owner.send(READ, within(LONG))
    assert scripted.connections == 1


@pytest.mark.parametrize("head", ["HTTP/1.1 200 OK\r\nconnection: close", "HTTP/1.0 200 OK"])
async def test_a_connection_that_the_owner_wants_closed_is_not_used_again(
    owner: Owner, scripted: ScriptedOwner, head: str
) -> None:
    scripted.script = [raw(head.encode() + b"\r\ncontent-length: 2\r\n\r\nok")]
    for _ in range(2):
        assert (await owner.send(READ, within(LONG))).status == 200
    assert scripted.connections == 2


BROKEN: dict[str, Answering] = {
    "not http": raw(b"220 smtp ready\r\n"),
    "a wrong status line": raw(b"HTTP/1.1 OK\r\n\r\n"),
    "two lengths": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    "length and chunks": raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a bad chunk": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n"),
    "no length": raw(b"HTTP/1.1 200 OK\r\n\r\nabc", keep=False),
    "an upgrade": raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    "a body cut short": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", keep=False),
    "chunks cut short": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", keep=False),
    "a head cut short": raw(b"HTTP/1.1 200 OK\r\nconte", keep=False),
    "a body too long": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n" + b"a" * 100_001),
    "chunks without end": raw(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + (b"1000\r\n" + b"a" * 4096 + b"\r\n") * 40
    ),
    "a head without end": raw(b"HTTP/1.1 200 OK\r\n" + b"x-a: 1\r\n" * 20_000),
    "hints without end": raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20_000),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("request_", [READ, WRITE], ids=["read", "write"])
async def test_an_answer_that_cannot_be_read_is_garbled_and_its_connection_is_gone(
    owner: Owner, scripted: ScriptedOwner, case: str, request_: Forward
) -> None:
    scripted.script = [BROKEN[case], BROKEN[case]]
    with pytest.raises(Garbled):
        await owner.send(request_, within(LONG))
    assert len(scripted.received) == (2 if request_.repeatable else 1)
    scripted.script = []
    assert (await owner.send(WRITE, within(LONG))).status == 200
    assert scripted.connections == len(scripted.received)
    assert owner.busy == 0


async def test_a_second_answer_that_nobody_asked_for_is_never_given_to_the_next_caller(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    good = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst"
    evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    scripted.script = [raw(good + evil), plain(b"second")]
    assert (await owner.send(READ, within(LONG))).body == b"first"
    assert (await owner.send(READ, within(LONG))).body == b"second"
    assert scripted.connections == 2


async def test_bytes_on_an_idle_connection_end_it(owner: Owner, scripted: ScriptedOwner) -> None:
    await owner.send(READ, within(LONG))
    next(iter(scripted._writers)).write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    await eventually(lambda: is_now(scripted.open, 0))
    assert (await owner.send(WRITE, within(LONG))).body == b"{}"


async def test_a_write_that_may_have_reached_the_owner_is_never_sent_again(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    for reused in (False, True):
        scripted.received.clear()
        scripted.script = [*([plain()] if reused else []), cut]
        if reused:
            await owner.send(READ, within(LONG))
        with pytest.raises(Cut):
            await owner.send(WRITE, within(LONG))
        assert sum(request.line.startswith("PUT") for request in scripted.received) == 1


async def test_a_read_is_sent_once_more_on_a_new_connection(owner: Owner, scripted: ScriptedOwner) -> None:
    scripted.script = [plain(), cut, plain(b"again")]
    await owner.send(READ, within(LONG))
    assert (await owner.send(READ, within(LONG))).body == b"again"
    scripted.script = [cut, cut, plain()]
    with pytest.raises(Cut):
        await owner.send(READ, within(LONG))


async def test_a_kept_connection_that_the_owner_closed_is_noticed_before_a_write(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    await owner.send(WRITE, within(LONG))
    scripted.drop_connections()
    await eventually(lambda: is_now(len([c for c in owner._idle if not c.closing]), 0))
    assert (await owner.send(WRITE, within(LONG))).status == 200
    assert scripted.connections == 2


async def test_a_write_does_not_trust_a_connection_that_was_idle_for_long(scripted: ScriptedOwner) -> None:
    owner = Owner(scripted.url, OwnerLimits(idle=60, idle_for_writes=0))
    await owner.send(READ, within(LONG))
    await owner.send(READ, within(LONG))
    assert scripted.connections == 1
    await owner.send(WRITE, within(LONG))
    assert scripted.connections == 2
    owner.close()


async def test_a_connection_that_is_never_idle_is_left_when_it_is_old(scripted: ScriptedOwner) -> None:
    """A balancer that chooses per connection would else never send anything to an owner's new instance."""
    owner = Owner(scripted.url, OwnerLimits(longest_kept=0.1))

    async def one_more() -> None:
        await owner.send(READ, within(LONG))
        is_now(scripted.connections, 3)

    await eventually(one_more, every=timedelta(0))
    assert len(scripted.received) > scripted.connections, "young ones are used again"
    owner.close()


async def test_connections_that_were_made_together_are_not_left_together(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    made_at = within(0)
    await asyncio.gather(*(owner.send(READ, within(LONG)) for _ in range(2)))
    one, other = (connection.keep_until - made_at for connection in owner._idle)
    assert one != other
    assert scripted.connections == 2
    assert all(20 < seconds < 40 for seconds in (one, other))


async def test_nobody_listening_is_unreachable(owner: Owner, scripted: ScriptedOwner) -> None:
    await scripted.stop()
    for request in (READ, WRITE):
        with pytest.raises(Unreachable):
            await owner.send(request, within(LONG))
    assert owner.busy == 0


async def test_an_owner_that_hangs_is_late_at_the_deadline_and_its_connection_dropped(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    scripted.answering = hang
    for request in (READ, WRITE):
        with pytest.raises(Late):
            await owner.send(request, within(SHORT))
    assert len(scripted.received) == 2
    await eventually(lambda: is_now(scripted.open, 0))


async def test_an_owner_that_drips_is_late_too(owner: Owner, scripted: ScriptedOwner) -> None:
    async def drip(_request: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(100):
            writer.write(b"a")
            await asyncio.sleep(0.02)
        return True

    scripted.answering = drip
    with pytest.raises(Late):
        await owner.send(READ, within(SHORT))


async def test_a_caller_that_leaves_takes_its_connection_with_it_and_gives_its_place_back(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    scripted.answering = hang
    tasks = [asyncio.create_task(owner.send(READ, within(LONG))) for _ in range(4)]
    await eventually(lambda: is_now(len(scripted.received), 2))
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*tasks, return_exceptions=True)
    )
    assert owner.busy == 0
    await eventually(lambda: is_now(scripted.open, 0))
    scripted.answering = plain()
    assert (await owner.send(READ, within(LONG))).status == 200


@pytest.mark.slow
async def test_places_are_neither_lost_nor_made_by_a_hundred_calls_that_end_in_every_way(
    scripted: ScriptedOwner,
) -> None:
    owner = Owner(scripted.url, OwnerLimits(connections=4, waiting=200))
    scripted.script = [plain(), cut, CHUNKED, raw(b"x"), BROKEN["a body cut short"], hang, plain()] * 40
    calls = [
        asyncio.create_task(owner.send(READ if n % 3 else WRITE, within(0.3 + n % 5 / 10)))
        for n in range(100)
    ]
    for task in calls[::7]:
        asyncio.get_running_loop().call_later(0.05, task.cancel)
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(
        not isinstance(e, BaseException) or isinstance(e, UpstreamError | asyncio.CancelledError)
        for e in ended
    )
    assert owner.busy == 0
    scripted.script, scripted.answering = [], plain()
    answers = await asyncio.gather(*(owner.send(WRITE, within(LONG)) for _ in range(20)))
    assert [answer.status for answer in answers] == [200] * 20
    owner.close()


async def test_an_early_refusal_of_a_large_body_is_an_answer(scripted: ScriptedOwner) -> None:
    owner = Owner(scripted.url, LIMITS)
    refusal = raw(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", keep=False)
    scripted.script = [refusal]
    large = Forward("PUT", b"/thing", b"", b"a" * 3_000_000, repeatable=False)
    assert (await owner.send(large, within(LONG))).status == 413
    owner.close()


def test_the_idle_time_for_writes_is_no_longer_than_owners_keep_idle_connections_when_they_leave() -> None:
    assert timedelta(seconds=OwnerLimits().idle_for_writes) <= timedelta(seconds=1)


async def test_a_connection_that_is_closed_goes_at_once_with_its_last_answer(owner: Owner) -> None:
    gc.collect()
    gc.disable()
    try:
        await owner.send(READ, within(LONG))
        connection = weakref.ref(owner._idle[0])
        owner.close()
        await eventually(lambda: connection() is None)
    finally:
        gc.enable()
