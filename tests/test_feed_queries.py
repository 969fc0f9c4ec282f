"""What the gateway lets be asked of the feed is what the feed reads."""

from typing import Final
from uuid import uuid4

import pytest

from change_feed.cursors import Cursors, SnapshotMark, Subscriber
from change_feed.feed import KINDS, kind_of
from change_feed.queries import FeedQuery, SnapshotQuery
from cv_contracts.wire.query import Query
from cv_gateway.openapi_feed import CHANGES
from cv_gateway.queries import FEED_QUERIES

READ: Final[dict[str, type[Query]]] = {"Feed": FeedQuery, "FeedSnapshot": SnapshotQuery}
CURSORS, SUBSCRIBER, EPOCH = Cursors(b"secret"), Subscriber("client", "scope"), uuid4()
MOST = 2**63 - 1


@pytest.mark.parametrize("name", READ)
def test_both_know_the_same_parameters_and_take_the_same_numbers(name: str) -> None:
    passed, read = FEED_QUERIES[name], READ[name]
    assert FEED_QUERIES.keys() == READ.keys()
    assert passed.model_fields.keys() == read.model_fields.keys()
    for parameter in ("timeout", "limit"):
        for number in ("0", "1", "5000", "5001", "60000", "60001", "2147483647", "2147483648", "x", ""):
            asked = [(parameter, number)]
            assert accepts(passed, asked) == accepts(read, asked), asked


def test_each_position_and_each_kind_of_the_feed_is_passed_on() -> None:
    for position in (0, 1, MOST):
        mark = SnapshotMark(position, uuid4())
        after, on = CURSORS.of_mark(SUBSCRIBER, EPOCH, mark), CURSORS.of(SUBSCRIBER, EPOCH, position)
        assert accepts(FEED_QUERIES["FeedSnapshot"], [("after", after)])
        assert accepts(FEED_QUERIES["Feed"], [("lastEventId", on)])
    assert accepts(FEED_QUERIES["Feed"], [("kind", ",".join(KINDS))])


def test_the_interface_names_each_kind_and_each_change_of_the_feed() -> None:
    named = {kind_of(type_): changes for type_, changes in CHANGES.items()}
    assert {*named, *(f"{kind}.{one}" for kind, changes in named.items() for one in changes)} == KINDS


def accepts(model: type[Query], asked: list[tuple[str, str]]) -> bool:
    try:
        model.from_query(asked)
    except ValueError:
        return False
    return True
