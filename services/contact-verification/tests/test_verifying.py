"""VerifyPersonContactData and RequestNewVerificationCode: every fault in its order, and codes that nobody can guess."""

import asyncio
import re
import time
from statistics import median
from typing import Any

import httpx
import pytest

from contact_verification.settings import Settings
from contact_verification.testing import CASE_WORKER, EMAIL, LANDLINE, MOBILE, Person, Start, World
from cv_citizens.testing import COMPANY, FUND, JOBNET, STAR, a_caller
from servicekit.follow.testing import made_live

pytestmark = pytest.mark.infra

LIFE = "update codes set expires_at = expires_at - interval '10 minutes', made_at = made_at - interval '10 minutes'"
EARLIER = "update code_sends set made_at = made_at - interval '61 seconds'"


def said(answer: Any) -> int | None:
    code: int | None = answer.json().get("code") if answer.status_code != 200 else None
    return code


def other(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


async def test_the_right_code_verifies_once(world: World) -> None:
    for kind in (MOBILE, EMAIL):
        person = await world.resident(MOBILE, EMAIL)
        code = await world.code(person, kind)
        assert len(code) == 6
        assert code.isdigit()
        assert (await world.verify(person, kind, code)).status_code == 200
        assert (await world.contacts(person))[kind][1] == 2
        assert said(await world.verify(person, kind, code)) == 9242
        assert await world.events(person) == ["contact-saved", "contact-verified"]


async def test_a_wrong_code_is_9241_and_the_right_one_still_works(world: World) -> None:
    person = await world.resident(EMAIL)
    code = await world.code(person, EMAIL)
    for wrong in (other(code), "", "1", code + "0", code[:-1], " " + code):
        if await world.database.fetchval("select attempts from codes") == 4:
            break
        assert said(await world.verify(person, EMAIL, wrong)) == 9241
    assert (await world.verify(person, EMAIL, code)).status_code == 200


async def test_the_faults_come_in_the_order_of_the_specification(world: World) -> None:
    nobody = Person(**{**(await world.resident()).__dict__, "cv_number": "99999999"})
    nothing, landline = await world.resident(), await world.resident(LANDLINE)
    verified = await world.resident(EMAIL)
    await world.verify(verified, EMAIL, await world.code(verified, EMAIL))
    expected = [
        (nobody, 9, 9153, 9153),
        (nobody, LANDLINE, 4400, 4400),
        (nothing, LANDLINE, 9240, 9240),
        (landline, LANDLINE, 9240, 9240),
        (nothing, EMAIL, 9159, 9159),
        (landline, EMAIL, 9242, 9242),
        (verified, EMAIL, 9242, 9247),
        (await world.resident(EMAIL), EMAIL, 9241, None),
    ]
    await world.database.execute(EARLIER)
    statuses = {9153: 400, 4400: 404, 9240: 409, 9159: 404, 9242: 404, 9247: 409, 9241: 409}
    for person, kind, verifying, renewing in expected:
        answer = await world.verify(person, kind, "1")
        assert (said(answer), answer.status_code) == (verifying, statuses[verifying])
        assert said(await world.request_new(person, kind)) == renewing


async def test_only_jobnet_may_else_1013_before_anything_is_read(world: World) -> None:
    for by in (CASE_WORKER, a_caller(STAR), a_caller(COMPANY), a_caller(FUND)):
        for path in ("/verificering", "/verificering/ny"):
            answer = await world.post(by, path, {})
            assert (answer.status_code, answer.json()["code"]) == (403, 1013)


@pytest.mark.parametrize("path", ["/verificering", "/verificering/ny"])
async def test_a_body_that_cannot_be_read_is_1014(world: World, path: str) -> None:
    good = {"CvCustomerIdentifier": "10000001", "PersonContactDataTypeIdentifier": 3}
    for change in ({"CvCustomerIdentifier": "1"}, {"PersonContactDataTypeIdentifier": "3"}, {"Other": 1}):
        answer = await world.post(a_caller(JOBNET), path, {**good, "VerificationCode": "1", **change})
        assert (answer.status_code, answer.json()["code"]) == (400, 1014)


async def test_after_five_guesses_the_right_code_is_refused_like_a_wrong_one(world: World) -> None:
    person = await world.resident(EMAIL)
    code = await world.code(person, EMAIL)
    for _ in range(5):
        assert said(await world.verify(person, EMAIL, other(code))) == 9241
    assert said(await world.verify(person, EMAIL, code)) == 9241
    assert (await world.contacts(person))[EMAIL][1] == 1


async def patiently(world: World, person: Person, guess: str) -> httpx.Response:
    """Guess again while the service is too busy to look at it."""
    while (answer := await world.verify(person, MOBILE, guess)).status_code == 503:  # noqa: ASYNC110 - as a caller would
        await asyncio.sleep(0.05)
    return answer


async def test_200_wrong_guesses_at_once_are_never_more_than_five(world: World) -> None:
    person = await world.resident(MOBILE)
    code = await world.code(person, MOBILE)
    wrong = [f"{(int(code) + n) % 1_000_000:06}" for n in range(1, 201)]
    answers = await asyncio.gather(*(patiently(world, person, guess) for guess in wrong))
    assert {said(answer) for answer in answers} == {9241}
    assert await world.database.fetchval("select attempts from codes") == 6
    assert said(await world.verify(person, MOBILE, code)) == 9241


async def test_of_200_guesses_at_once_with_the_right_one_among_them_at_most_five_are_looked_at(
    world: World,
) -> None:
    person = await world.resident(MOBILE)
    code = await world.code(person, MOBILE)
    guesses = [f"{(int(code) + n) % 1_000_000:06}" for n in range(1, 200)]
    guesses.insert(100, code)
    answers = await asyncio.gather(*(world.verify(person, MOBILE, guess) for guess in guesses))
    right = [n for n, answer in enumerate(answers) if answer.status_code == 200]
    assert len(right) <= 1
    verified = (await world.contacts(person))[MOBILE][1] == 2
    assert verified == bool(right)


async def test_the_guess_is_counted_when_the_right_one_comes_at_the_same_time_from_two(world: World) -> None:
    person = await world.resident(MOBILE)
    code = await world.code(person, MOBILE)
    answers = await asyncio.gather(*(world.verify(person, MOBILE, code) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 9


async def test_an_expired_code_is_9241(world: World) -> None:
    person = await world.resident(EMAIL)
    code = await world.code(person, EMAIL)
    await world.database.execute(LIFE)
    answer = await world.verify(person, EMAIL, code)
    assert said(answer) == 9241
    body = {k: v for k, v in answer.json().items() if k != "traceId"}
    await world.database.execute("update codes set expires_at = now() + interval '10 minutes'")
    wrong = await world.verify(person, EMAIL, other(code))
    assert {k: v for k, v in wrong.json().items() if k != "traceId"} == body


async def test_a_code_lives_ten_minutes_by_the_clock_of_the_database(world: World) -> None:
    await world.resident(EMAIL)
    left = await world.database.fetchval("select extract(epoch from expires_at - made_at) from codes")
    assert round(left) == 600


async def test_a_service_clock_that_is_five_minutes_off_changes_no_lifetime(
    settings: Settings, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time_ns
    await made_live(settings.postgres, "citizens", "cvs")
    for minutes in (-5, 5):
        monkeypatch.setattr(time, "time_ns", lambda minutes=minutes: right() + minutes * 60 * 10**9)
        async with start(settings) as world:
            await world.heartbeat()
            person = await world.resident(EMAIL)
            left = await world.database.fetchval(
                "select extract(epoch from expires_at - now()) from codes where person_id = $1",
                person.person_id,
            )
            assert 590 < left <= 600
            assert (await world.verify(person, EMAIL, await world.code(person, EMAIL))).status_code == 200


@pytest.mark.long
async def test_wrong_expired_and_used_up_codes_take_the_same_time(world: World) -> None:
    people = [await world.resident(EMAIL) for _ in range(90)]
    groups: dict[str, list[float]] = {"wrong": [], "expired": [], "used up": []}
    for number, person in enumerate(people):
        group = list(groups)[number % 3]
        if group == "expired":
            await world.database.execute(
                "update codes set expires_at = now() - interval '1 s' where person_id = $1", person.person_id
            )
        elif group == "used up":
            await world.database.execute(
                "update codes set attempts = 5 where person_id = $1", person.person_id
            )
        code = await world.code(person, EMAIL)
        begun = time.perf_counter()
        assert said(await world.verify(person, EMAIL, code if group != "wrong" else other(code))) == 9241
        groups[group].append(time.perf_counter() - begun)
    medians = {group: median(times) for group, times in groups.items()}
    assert max(medians.values()) < 1.35 * min(medians.values()), medians


async def test_a_new_code_voids_the_old_one_and_gives_new_guesses(world: World) -> None:
    person = await world.resident(EMAIL)
    old = await world.code(person, EMAIL)
    for _ in range(5):
        await world.verify(person, EMAIL, other(old))
    await world.database.execute(EARLIER)
    assert (await world.request_new(person, EMAIL)).status_code == 200
    new = await world.code(person, EMAIL)
    if new != old:
        assert said(await world.verify(person, EMAIL, old)) == 9241
    assert (await world.verify(person, EMAIL, new)).status_code == 200
    assert await world.events(person) == ["contact-saved", "verification-code-requested", "contact-verified"]


async def test_a_new_code_within_60_seconds_is_429_and_says_how_long_to_wait(world: World) -> None:
    person = await world.resident(EMAIL)
    answer = await world.request_new(person, EMAIL)
    assert answer.status_code == 429
    assert 50 <= int(answer.headers["retry-after"]) <= 60
    assert "code" not in answer.json()
    await world.database.execute(EARLIER)
    assert (await world.request_new(person, EMAIL)).status_code == 200
    assert (await world.request_new(person, EMAIL)).status_code == 429


async def test_the_limits_count_per_person_over_all_addresses(world: World) -> None:
    person = await world.resident(EMAIL, MOBILE)
    await world.database.execute(EARLIER)
    assert (await world.request_new(person, EMAIL)).status_code == 200
    assert (await world.request_new(person, MOBILE)).status_code == 429
    for _ in range(2):
        await world.database.execute(EARLIER)
        assert (await world.request_new(person, MOBILE)).status_code == 200
    await world.database.execute(EARLIER)
    answer = await world.request_new(person, EMAIL)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 80_000


async def test_the_limits_count_per_address_over_all_persons(world: World) -> None:
    people = [await world.resident() for _ in range(6)]
    sent = 0
    for person in people:
        await world.save(CASE_WORKER, person, {EMAIL: "same@example.com"})
        await world.database.execute(EARLIER)
        assert (await world.database.fetchval("select count(*) from code_sends")) == min(sent + 1, 5)
        sent = min(sent + 1, 5)
    for person in (people[0], people[-1]):
        assert (await world.request_new(person, EMAIL)).status_code == 429


async def test_ten_requests_at_once_send_one_code(world: World) -> None:
    person = await world.resident(EMAIL)
    await world.database.execute(EARLIER)
    answers = await asyncio.gather(*(world.request_new(person, EMAIL) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 9


async def test_persons_who_share_an_address_get_one_code_between_them_at_once(world: World) -> None:
    people = [await world.resident() for _ in range(8)]
    answers = await asyncio.gather(
        *(
            world.save(CASE_WORKER, person, {EMAIL: "one@example.com", MOBILE: "+4526999999"})
            for person in people
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    assert await world.database.fetchval("select count(*) from code_sends") == 2


async def test_a_code_whose_sending_was_held_back_cannot_be_used(world: World) -> None:
    for _ in range(2):
        person = await world.resident()
        await world.save(CASE_WORKER, person, {EMAIL: "same@example.com"})
    assert said(await world.verify(person, EMAIL, await world.code(person, EMAIL))) == 9241


async def test_a_blocked_address_cannot_be_verified_and_an_undeliverable_one_can(world: World) -> None:
    person = await world.resident(EMAIL)
    await world.set_status(CASE_WORKER, person, EMAIL, 4)
    assert said(await world.verify(person, EMAIL, await world.code(person, EMAIL))) == 9242
    await world.set_status(CASE_WORKER, person, EMAIL, 3)
    assert (await world.verify(person, EMAIL, await world.code(person, EMAIL))).status_code == 200


async def test_a_repeated_request_id_gets_the_first_answer_and_costs_no_guess(world: World) -> None:
    person = await world.resident(EMAIL)
    code = await world.code(person, EMAIL)
    first = await world.verify(person, EMAIL, code, x_requestid="v")
    again = await world.verify(person, EMAIL, code, x_requestid="v")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["x-idempotent-replay"] == "true"


async def test_the_clear_code_is_stored_nowhere(world: World) -> None:
    person = await world.resident(EMAIL, MOBILE)
    codes = [await world.code(person, kind) for kind in (EMAIL, MOBILE)]
    tables = await world.database.fetch(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    # Six digits by themselves, and not those of a longer number, of a hash or of a moment.
    clear = re.compile(rf"(?<![0-9a-f.])({'|'.join(codes)})(?![0-9a-f])")
    for table in tables:
        for row in await world.database.fetch(f'select t::text as text from "{table["relname"]}" t'):
            assert not clear.search(row["text"])
            for code in codes:
                assert code.encode().hex() not in row["text"]
