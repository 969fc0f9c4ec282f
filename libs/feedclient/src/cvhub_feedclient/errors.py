"""What can go wrong for good.

FeedError
├── FeedRefused   the feed answers no, and trying again would not help (no scope, a bad position)
├── NotMyRange    a page does not begin where the last one ended, so something may lie between
└── Overtaken     another process keeps the same copy in step; raised by the copy
"""

from collections.abc import Sequence


class FeedError(Exception):
    """Following has ended; the copy and its place are as the last transaction left them."""


class FeedRefused(FeedError):  # noqa: N818 - says what happened
    """The feed refuses the call; `code` is the fault's number where it has one, and `elements` what it names as not valid.

    If that is `lastEventId` or `after` and the place was the feed's own, it is good no more, as by another secret of the feed's or
    another client id of yours: follow anew. Holds nothing about a person.
    """

    def __init__(self, status: int, code: int | None, elements: Sequence[str] = ()) -> None:
        told = "" if code is None else f" with fault {code}"
        super().__init__(f"the feed answered {status}{told}" + "".join(f", {one}" for one in elements))
        self.status = status
        self.code = code
        self.elements = elements


class NotMyRange(FeedError):  # noqa: N818 - says what is the matter
    """The range of a page does not go on from the place of the copy: the proof of completeness does not hold."""

    def __init__(self) -> None:
        super().__init__("a page does not begin where the last one ended")


class Overtaken(FeedError):  # noqa: N818 - says what has happened
    """The place kept with the copy is not the one that this follower left there: another one has gone on meanwhile."""

    def __init__(self) -> None:
        super().__init__("another process keeps this copy in step")
