"""What the service follows is what the contracts say, in the only safe way."""

from typing import Any, cast

import pytest

from contact_verification.followers import projections
from contact_verification.preparing import Prepares
from contact_verification.settings import SERVICE
from cv_citizens.replica_source import HttpRegistry
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.state_client import HttpStates
from servicekit.follow.topology_testing import assert_follows_contracts
from servicekit.publish.outbox import Outbox
from servicekit.settings import KafkaSettings

pytestmark = pytest.mark.infra


async def nobody(_path: str, _body: dict[str, Any]) -> Any:
    raise LookupError


async def test_the_subscriptions_are_those_of_the_contracts(fresh_database: FreshDatabase) -> None:
    database = await Database.connect(await fresh_database(), SERVICE)
    try:
        followed = projections(
            HttpRegistry(nobody),
            HttpStates(nobody, "/internal/cv-contacts"),
            cast("Prepares", None),
            Outbox(),
        )
        nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
        follower = Follower(database, nowhere, SERVICE, followed)
        assert_follows_contracts(follower, SERVICE)
    finally:
        await database.close()
