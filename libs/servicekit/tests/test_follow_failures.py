"""What a follower survives: a database that is away, dies or is restored, a kill between effect and commit, rebalances."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from cvhub.testing import Kafka, Postgres
from servicekit import kafka as clients
from servicekit.data.postgres import Database, migrate
from servicekit.follow.batch import Work, settle
from servicekit.follow.follower import Follower, group_of
from servicekit.follow.freshness import fresh_sql
from servicekit.follow.generations import Generations
from servicekit.follow.projection import Applicable, Connection, Position
from servicekit.follow.states import Known
from servicekit.follow.testing import (
    CITIZENS,
    Copies,
    EventLog,
    OwnedStates,
    apply_states,
    following,
    make_live,
)
from servicekit.kafka_admin import ensure_topics
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


@pytest_asyncio.fixture
async def database(database: Database) -> Database:
    await make_live(database)
    return database


@pytest_asyncio.fixture
async def copies(database: Database) -> Copies:
    return await Copies(database).create()


@pytest_asyncio.fixture
async def log(kafka_settings: KafkaSettings) -> AsyncIterator[EventLog]:
    async with EventLog(kafka_settings) as log:
        yield log


async def has(copies: Copies, expected: dict[UUID, int]) -> None:
    versions = await copies.versions()
    missing = {s for s, version in expected.items() if versions.get(s) != version}
    assert not missing, f"{len(missing)} of {len(expected)} are missing"


async def test_killed_after_the_effect_and_before_the_offsets_nothing_is_doubled(
    database: Database,
    kafka_settings: KafkaSettings,
    copies: Copies,
    log: EventLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    owner = OwnedStates()
    people = {uuid4(): n + 1 for n in range(30)}
    await log.send(*[owner.put(person, version) for person, version in people.items()])
    with monkeypatch.context() as patched:
        patched.setattr(AIOKafkaConsumer, "commit", never)
        async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
            await eventually(lambda: has(copies, people))
    assert await committed(kafka_settings) == {None}

    await database.execute("delete from follow_positions")  # so that all is read again
    async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
        await eventually(lambda: all_committed(kafka_settings, 30))
    await has(copies, people)
    assert await copies.doubled() == 0


async def test_a_restored_database_reads_again_what_it_lost(
    database: Database, kafka_settings: KafkaSettings, copies: Copies, log: EventLog
) -> None:
    owner = OwnedStates()
    people = {uuid4(): 1 for _ in range(30)}
    await log.send(*[owner.put(person, 1) for person in people])
    async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
        await eventually(lambda: all_committed(kafka_settings, 30))
    await _restore_to_the_beginning(database)

    async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
        await eventually(lambda: has(copies, people))
        await eventually(lambda: all_committed(kafka_settings, 30))


async def test_partitions_of_which_a_restored_database_knows_nothing_are_read_from_their_begin(
    database: Database, kafka_settings: KafkaSettings, copies: Copies, log: EventLog
) -> None:
    """Nothing new comes in them, and Kafka's offsets are at their ends."""
    owner = OwnedStates()
    people = {uuid4(): 1 for _ in range(30)}
    await log.send(*[owner.put(person, 1) for person in people])
    async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
        await eventually(lambda: all_committed(kafka_settings, 30))
    await database.execute("truncate copies, effects, projected_versions, follow_positions")
    async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
        await eventually(lambda: has(copies, people))


async def test_a_database_restored_under_a_running_follower_is_noticed_with_the_next_record_of_any_partition(
    database: Database, kafka_settings: KafkaSettings, copies: Copies, log: EventLog
) -> None:
    owner = OwnedStates()
    people = {uuid4(): 1 for _ in range(30)}
    await log.send(*[owner.put(person, 1) for person in people])
    async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
        await eventually(lambda: all_committed(kafka_settings, 30))
        await _restore_to_the_beginning(database)
        await log.send(owner.put(uuid4(), 1), partition=0)
        await eventually(lambda: has(copies, people))


async def test_a_log_that_was_made_anew_is_read_from_its_begin_and_leaves_a_gap(
    database: Database, kafka_settings: KafkaSettings, copies: Copies, log: EventLog
) -> None:
    """What nobody had read of the old one is gone: only the owner knows it."""
    owner, person = OwnedStates(), uuid4()
    await log.send(owner.put(person, 1), partition=0)
    await _set_position(database, 900)
    async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
        await eventually(lambda: has(copies, {person: 1}))
        await eventually(lambda: all_committed(kafka_settings, 1))
    assert await Generations(database, "copies").has_gap()


async def test_records_that_are_gone_raise_the_alarm_stop_nothing_and_leave_a_gap_until_it_is_built_anew(
    database: Database, kafka_settings: KafkaSettings, copies: Copies, log: EventLog
) -> None:
    owner = OwnedStates()
    events = [owner.put(uuid4(), 1) for _ in range(20)]
    for event in events:
        await log.send(event, partition=0)
    await _set_position(database, 5)
    await _remove_records_before(kafka_settings, 15)
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with following(follower):
        await eventually(lambda: has(copies, {e.subject: 1 for e in events[15:]}))
        await eventually(lambda: all_committed(kafka_settings, 20))
        await follower.health.measure()
        standing = follower.health.standing_of("copies")
        assert standing is not None
        assert standing.gaps == 1
    generations = Generations(database, "copies")
    assert await generations.has_gap()
    for had_gap in (True, False):
        # One begun before the gap was found may lack what was in it; one begun since does not.
        async with database.write(generations.key) as tx:
            build = await generations.start(tx)
        if had_gap:
            await database.execute("update projection_generations set started_at = now() - interval '1 hour'")
        await database.execute(
            "update projection_generations set snapshot_done = true where generation = $1", build.number
        )
        await generations.make_live(build.number)
        assert await generations.has_gap() is had_gap


async def test_nobody_is_fresh_behind_a_gap(database: Database) -> None:
    fresh = fresh_sql("copies", CITIZENS, subject="$1::uuid", partition="0")
    await database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset, heartbeat_at) values ('copies', $1, 0, 1, now())",
        CITIZENS.name,
    )
    assert await database.fetchval(f"select {fresh}", uuid4())
    await database.execute("update follow_positions set gap_at = now()")
    assert not await database.fetchval(f"select {fresh}", uuid4())


async def test_states_of_a_snapshot_are_applied_to_the_generation_given_where_newer(
    database: Database, copies: Copies
) -> None:
    projection = copies.projection(OwnedStates())
    await make_live(database, generation=2, status="building")
    old, new = uuid4(), uuid4()
    await apply_states(database, projection, [Known(old, 9, {})])
    news = await apply_states(database, projection, [Known(old, 8, {}), Known(new, 3, {})], [2])
    assert news == {new}
    assert await copies.versions(2) == {old: 9, new: 3}
    assert await copies.versions(1) == {old: 9}


async def test_two_followers_share_the_partitions_and_a_rebalance_in_mid_batch_loses_nothing(
    database: Database, kafka_settings: KafkaSettings, copies: Copies, log: EventLog
) -> None:
    owner, slow = OwnedStates(), SlowCopies(copies)
    people = {uuid4(): 1 for _ in range(600)}
    events = [owner.put(person, 1) for person in people]
    projection = copies.projection(owner)
    first = Follower(database, kafka_settings, "cv-status", [slow.projection(owner)])
    second = Follower(database, kafka_settings, "cv-status", [projection])
    async with following(first):
        await log.send(*events[:200])
        await eventually(slow.in_batch.wait)
        async with following(second):
            await log.send(*events[200:400])
            slow.may_go_on.set()
            await eventually(lambda: has(copies, {e.subject: 1 for e in events[:400]}))
        await log.send(*events[400:])
        await eventually(lambda: has(copies, people))
    assert await copies.doubled() == 0


async def test_postgres_restarted_in_mid_batch_loses_and_doubles_nothing(
    own_postgres: Postgres, kafka_settings: KafkaSettings, log: EventLog
) -> None:
    settings = PostgresSettings(dsn=own_postgres.dsn)
    await migrate(settings.dsn)
    database = await Database.connect(settings, "follow-tests")
    await make_live(database)
    copies = await Copies(database).create()
    owner, slow = OwnedStates(), SlowCopies(copies)
    people = {uuid4(): 1 for _ in range(100)}
    events = [owner.put(person, 1) for person in people]
    await log.send(*events[:50])
    async with following(Follower(database, kafka_settings, "cv-status", [slow.projection(owner)])):
        await eventually(slow.in_batch.wait)
        await asyncio.to_thread(own_postgres.kill)
        slow.may_go_on.set()
        await log.send(*events[50:])
        assert await committed(kafka_settings) == {None}
        await asyncio.to_thread(own_postgres.start)
        await eventually(lambda: has(copies, people))
        await eventually(lambda: all_committed(kafka_settings, 100))
    assert await copies.doubled() == 0
    await database.close()


async def test_the_broker_may_come_after_the_follower_and_go_in_between(
    database: Database, copies: Copies, own_kafka: Kafka
) -> None:
    kafka = KafkaSettings(bootstrap_servers=own_kafka.bootstrap_servers)
    await ensure_topics(kafka, [CITIZENS])
    owner, people = OwnedStates(), [uuid4(), uuid4()]
    await asyncio.to_thread(own_kafka.stop)
    async with following(Follower(database, kafka, "cv-status", [copies.projection(owner)])):
        await asyncio.to_thread(own_kafka.start)
        async with EventLog(kafka) as log:
            await log.send(owner.put(people[0], 1))
            await eventually(lambda: has(copies, {people[0]: 1}))
            await asyncio.to_thread(own_kafka.restart)
            await log.send(owner.put(people[1], 1))
            await eventually(lambda: has(copies, {people[1]: 1}))


async def test_transactions_over_the_same_subjects_never_wait_for_each_other_in_a_ring(
    database: Database, copies: Copies
) -> None:
    owner = OwnedStates()
    projection = copies.projection(owner)
    people = [uuid4() for _ in range(200)]

    async def apply_all(version: int) -> None:
        async with database.pool.acquire() as conn:
            work = Work({p: Known(p, version, {}) for p in people}, positions={0: Position(version)})
            await settle(conn, projection, work, one_by_one=version % 2 == 0)

    await asyncio.gather(*[apply_all(version) for version in range(1, 9)])
    assert set((await copies.versions()).values()) == {8}
    assert await copies.doubled() == 0


@pytest.mark.parametrize("error", [asyncpg.DeadlockDetectedError, asyncpg.SerializationError])
async def test_the_victim_of_a_deadlock_is_tried_again_as_a_whole(
    database: Database, kafka_settings: KafkaSettings, log: EventLog, error: type[asyncpg.PostgresError]
) -> None:
    owner, copies = OwnedStates(), await VictimCopies(database, error).create()
    people = {uuid4(): 1 for _ in range(20)}
    await log.send(*[owner.put(person, 1) for person in people])
    async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
        await eventually(lambda: has(copies, people))
    assert copies.tries >= 2
    assert await database.fetchval("select count(*) from pending_subjects") == 0
    assert await copies.doubled() == 0


async def test_a_follower_proves_who_it_is(
    database: Database, scram_kafka: KafkaSettings, copies: Copies
) -> None:
    await ensure_topics(scram_kafka, [CITIZENS])
    owner, person = OwnedStates(), uuid4()
    async with (
        EventLog(scram_kafka) as log,
        following(Follower(database, scram_kafka, "cv-status", [copies.projection(owner)])),
    ):
        await log.send(owner.put(person, 1))
        await eventually(lambda: has(copies, {person: 1}))


class VictimCopies(Copies):
    """Is chosen as a victim in its first transaction."""

    def __init__(self, database: Database, error: type[asyncpg.PostgresError]) -> None:
        super().__init__(database)
        self.tries = 0
        self._error = error

    async def apply(self, conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        self.tries += 1
        await super().apply(conn, generation, states)
        if self.tries == 1:
            raise self._error("chosen")


class SlowCopies(Copies):
    """Stops in its first transaction, after the effect and before the commit, until it may go on."""

    def __init__(self, copies: Copies) -> None:
        super().__init__(copies._database)
        self.in_batch = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def apply(self, conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        await super().apply(conn, generation, states)
        self.in_batch.set()
        await self.may_go_on.wait()


async def _restore_to_the_beginning(database: Database) -> None:
    """As a restore from a back-up made when little had been read."""
    await database.execute(
        "truncate copies, effects, projected_versions; update follow_positions set next_offset = 0"
    )


async def _set_position(database: Database, offset: int) -> None:
    await database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset) values ('copies', $1, 0, $2)",
        CITIZENS.name,
        offset,
    )


async def _remove_records_before(kafka: KafkaSettings, offset: int) -> None:
    """As retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        topic_partition = TopicPartition(kafka.topic_prefix + CITIZENS.name, 0)
        await admin.delete_records({topic_partition: RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def committed(kafka: KafkaSettings) -> set[int | None]:
    return set((await offsets(kafka)).values())


async def all_committed(kafka: KafkaSettings, records: int) -> None:
    assert sum(offset or 0 for offset in (await offsets(kafka)).values()) == records


async def offsets(kafka: KafkaSettings) -> dict[int, int | None]:
    consumer = clients.consumer(kafka, group_id=group_of("cv-status", "copies"))
    await consumer.start()
    try:
        topic = kafka.topic_prefix + CITIZENS.name
        return {p: await consumer.committed(TopicPartition(topic, p)) for p in range(CITIZENS.partitions)}
    finally:
        await consumer.stop()
