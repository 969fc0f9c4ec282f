"""Positions are good for the subscriber that they were given to, however many there are and however alike."""

from uuid import UUID

import pytest

from change_feed.cursors import Cursors, Subscriber
from cv_contracts.faults import Fault

CURSORS = Cursors(b"a secret of the tests")
EPOCH = UUID(int=7)


@pytest.mark.parametrize("other", [("c", "a:2"), ("d", "a:1"), ("ca", ":1"), ("", "ca:1")])
def test_a_position_is_good_for_its_client_in_its_scope_only(other: tuple[str, str]) -> None:
    position = CURSORS.of(Subscriber("c", "a:1"), EPOCH, 5)
    assert CURSORS.read(Subscriber("c", "a:1"), position, "lastEventId") == (EPOCH, 5)
    with pytest.raises(Fault) as fault:
        CURSORS.read(Subscriber(*other), position, "lastEventId")
    assert fault.value.code == 1014


def test_positions_stay_good_however_many_subscribers_come() -> None:
    many = [Subscriber(f"client {n}", "*") for n in range(1_002)]
    positions = [CURSORS.of(one, EPOCH, n) for n, one in enumerate(many)]
    read = [CURSORS.read(one, text, "lastEventId")[1] for one, text in zip(many, positions, strict=True)]
    assert read == list(range(1_002))
