"""Follow cvhub's change feed: nothing missed, nothing done twice, through restarts of every part.

    follower = Follower(Reader(client), copy)
    await follower.run()

You bring an `httpx.AsyncClient` with the gateway's address and your headers, and a `Copy`: where your copy of the
citizens is kept, and beside it, in the same transactions, how far you are.
"""

from cvhub_feedclient.errors import FeedError, FeedRefused, NotMyRange, Overtaken
from cvhub_feedclient.follower import Follower, Waiting
from cvhub_feedclient.messages import Event, Page, Present, SnapshotPage
from cvhub_feedclient.place import Copy, Place
from cvhub_feedclient.reader import Reader

__all__ = [
    "Copy",
    "Event",
    "FeedError",
    "FeedRefused",
    "Follower",
    "NotMyRange",
    "Overtaken",
    "Page",
    "Place",
    "Present",
    "Reader",
    "SnapshotPage",
    "Waiting",
]
