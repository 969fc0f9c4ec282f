"""What the service follows is what the contracts say, in the only safe way."""

from typing import Any

import pytest

from change_feed.log import FOLLOWED
from change_feed.settings import SERVICE
from cv_citizens.replica import replica_projection
from cv_citizens.replica_source import HttpRegistry
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.topology_testing import assert_follows_contracts
from servicekit.settings import KafkaSettings

pytestmark = pytest.mark.infra


async def nobody(_path: str, _body: dict[str, Any]) -> Any:
    raise LookupError


async def test_the_subscriptions_are_those_of_the_contracts(fresh_database: FreshDatabase) -> None:
    database = await Database.connect(await fresh_database(), SERVICE)
    try:
        followed = [replica_projection(HttpRegistry(nobody))]
        nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
        follower = Follower(database, nowhere, SERVICE, followed)
        assert_follows_contracts(follower, SERVICE, followed_otherwise=[topic.name for topic in FOLLOWED])
    finally:
        await database.close()
