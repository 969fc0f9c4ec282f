"""What the registry publishes, as it arrives on a real Kafka."""

import pytest

from cv_contracts.envelope import Event, key, read
from cv_contracts.events.cv_registry import CitizenChanged, CitizenHeartbeat, CVChanged
from cv_registry.app import create_app
from cv_registry.settings import SERVICE
from cv_registry.testing import RegistryClient, a_citizen, some_settings
from servicekit.data.postgres import Database
from servicekit.kafka import consumer
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import eventually
from servicekit.web.testing import Identities, in_process

pytestmark = pytest.mark.infra

TOPICS = ("cv-registry.citizen-changed", "cv-registry.cv-changed")


async def test_writes_arrive_under_their_keys_and_heartbeats_in_every_partition(
    postgres: PostgresSettings, kafka_settings: KafkaSettings, database: Database, identities: Identities
) -> None:
    identity, signers = identities.settings(SERVICE), identities.signers
    app = create_app(some_settings(postgres, identity, kafka_settings))
    follower = consumer(kafka_settings, *TOPICS, group_id=None)
    await follower.start()
    try:
        async with in_process(app) as (http, _):
            registry = RegistryClient(http, signers)
            citizen = a_citizen()
            (ids,) = await registry.register(citizen)
            receipt = (await registry.replace(citizen["personNumber"])).json()["ServiceReceipt"]
            found: list[tuple[int, bytes | None, Event]] = []

            async def all_are_there() -> None:
                for records in (await follower.getmany(timeout_ms=100)).values():
                    for record in records:
                        assert citizen["personNumber"] not in repr(record)
                        found.append((record.partition, record.key, read(record.headers, record.value)))
                kinds = [type(event) for _, _, event in found]
                assert {CitizenChanged, CVChanged} <= set(kinds)
                assert {p for p, _, event in found if isinstance(event, CitizenHeartbeat)} == set(range(6))

            await eventually(all_are_there)
        (changed,) = [event for _, _, event in found if isinstance(event, CVChanged)]
        assert (str(changed.id), str(changed.subject)) == (receipt["MessageIdentifier"], ids["cvId"])
        assert all(k == key(e) for _, k, e in found if not isinstance(e, CitizenHeartbeat))
        assert await database.fetchval("SELECT count(*) FROM outbox") == 0
    finally:
        await follower.stop()
