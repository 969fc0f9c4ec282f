"""How many requests a busy owner is given: fewer with each slow answer, never none, and all again once it is quick."""

from servicekit.web.room import LEAST, Room


def test_a_quick_owner_is_given_the_most() -> None:
    room = Room(64)
    for _ in range(1_000):
        room.answered(swiftly=True)
    assert room.size == 64


def test_a_slow_owner_is_given_fewer_and_fewer_but_always_some() -> None:
    room = Room(64)
    sizes = []
    for _ in range(300):
        room.answered(swiftly=False)
        sizes.append(room.size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[34] < 32
    assert sizes[-1] == LEAST


def test_one_connection_is_never_taken_away() -> None:
    room = Room(1)
    room.answered(swiftly=False)
    assert room.size == 1


def test_as_many_as_wait_rather_than_work_are_given_however_slow_the_answers() -> None:
    room = Room(10_000, least=10_000)
    for _ in range(1_000):
        room.answered(swiftly=False)
    assert room.size == 10_000


def test_an_owner_that_is_quick_again_is_soon_given_the_most_again() -> None:
    room = Room(64)
    for _ in range(300):
        room.answered(swiftly=False)
    answers = 0
    while room.size < 64:
        room.answered(swiftly=True)
        answers += 1
    assert answers < 5_000
