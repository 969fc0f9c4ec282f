"""A write that names a request id runs once; the same request again gets the first answer again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from typing import Any, Self
from uuid import UUID

import orjson

from cv_contracts.faults import FieldError, Precondition, Unavailable
from cv_contracts.wire.common import is_request_id
from servicekit.caller import Caller, Organisation
from servicekit.data.postgres import Database, WriteTx
from servicekit.observe import metrics
from servicekit.settings import BadSetting

REPLAY_HEADER = "x-idempotent-replay"
REQUEST_ID_HEADER = "x-requestId"
REMEMBERED_FOR = timedelta(days=7)
CLEAN_CHUNK = 1_000

# By the database's clock alone: a host whose own is wrong would do again what was done, or have it done again.
_REPLAY = """
select body_hash, status, body, headers from request_log where request = $1 and answered_at > now() - $2::interval"""
_REMEMBER = """
insert into request_log (request, body_hash, status, body, headers, answered_at, subject)
values ($1, $2, $3, $4, $5::text::jsonb, now(), $7)
on conflict (request) do update set
    body_hash = excluded.body_hash, status = excluded.status, body = excluded.body,
    headers = excluded.headers, answered_at = excluded.answered_at, subject = excluded.subject
where request_log.answered_at <= now() - $6::interval"""
_CLEAN = """
delete from request_log where request in (
    select request from request_log where answered_at <= now() - $1::interval
    order by answered_at limit $2 for update skip locked
)"""


def wrong_request_id(request_id: str | None) -> FieldError | None:
    """Say what is wrong with a request id; None where it can be used, and where there is none."""
    if request_id is None or is_request_id(request_id):
        return None
    return FieldError(REQUEST_ID_HEADER, "must have 1 to 46 characters of printable ASCII")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a request id is unique for: client, organisation acted as, method and the citizen's random id."""

    client: str
    organisation: Organisation
    method: int
    subject: UUID
    request_id: str = field(repr=False)

    @classmethod
    def of(cls, caller: Caller, method: int, subject: UUID, request_id: str | None) -> Self | None:
        """Give the key of a call; None without a request id."""
        return None if request_id is None else cls(caller.client, caller.active, method, subject, request_id)


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """A response as it was first given; `headers`: those that cannot be derived from the body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestName:
    """Under what a request is remembered: keyed hashes of who asked for what under which id, and of the body.

    `subject` is the random id of whom it is about, by which an erasure finds it.
    """

    request: bytes = field(repr=False)
    body_hash: bytes = field(repr=False)
    subject: UUID


class RequestLog:
    """The answers of the last 7 days. `secret` keys the hashes; with another one, no earlier request is recognised.

    Ask and remember in the write transaction of the subject: its key lock lets the second of two identical requests
    wait for the first one's answer.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise BadSetting("the secret of the request log needs 16 bytes at least")
        self._key = blake2b(secret, digest_size=32).digest()

    async def replay(self, tx: WriteTx, key: RequestKey | None, body: bytes) -> FirstAnswer | None:
        """Give the first answer to this request, marked as a replay; None if it was not answered yet or has no id.

        Raises Precondition (412) if the id was used with another body.
        """
        if key is None:
            return None
        row = await tx.conn.fetchrow(_REPLAY, self._request(key), REMEMBERED_FOR)
        if row is None:
            return None
        if row["body_hash"] != self._hash(body):
            raise Precondition("This request id was used with another body")
        metrics.count("requests.replayed")
        headers = {**orjson.loads(row["headers"]), REPLAY_HEADER: "true"}
        return FirstAnswer(row["status"], row["body"], headers)

    def name(self, key: RequestKey | None, body: bytes) -> RequestName | None:
        """Give under what a request will be remembered, for a write whose answer comes later; None without an id."""
        if key is None:
            return None
        return RequestName(self._request(key), self._hash(body), key.subject)

    async def remember(
        self, tx: WriteTx, key: RequestKey | None, body: bytes, answer: FirstAnswer
    ) -> FirstAnswer:
        """Keep the answer with the write that it tells of; gives it back."""
        return await self.remember_as(tx, self.name(key, body), answer)

    async def remember_as(self, tx: WriteTx, name: RequestName | None, answer: FirstAnswer) -> FirstAnswer:
        """Keep the answer under a name that was given before; gives it back."""
        if name is None:
            return answer
        status = await tx.conn.execute(
            _REMEMBER,
            name.request,
            name.body_hash,
            answer.status,
            answer.body,
            orjson.dumps(dict(answer.headers)).decode(),
            REMEMBERED_FOR,
            name.subject,
        )
        if status != "INSERT 0 1":
            # Answered meanwhile under another key lock: this transaction goes back, the retry gets that answer.
            raise Unavailable(retry_after=1)
        return answer

    async def clean(self, database: Database) -> int:
        """Forget what is older than 7 days, chunk by chunk; gives how many."""
        forgotten = 0
        while True:
            answer = await database.execute(_CLEAN, REMEMBERED_FOR, CLEAN_CHUNK)
            chunk = int(answer.rpartition(" ")[2])
            forgotten += chunk
            if chunk < CLEAN_CHUNK:
                return forgotten

    def _request(self, key: RequestKey) -> bytes:
        parts: tuple[Any, ...] = (
            key.client,
            key.organisation.type,
            key.organisation.code,
            key.method,
            key.subject,
            key.request_id,
        )
        return self._hash(orjson.dumps([str(part) for part in parts]))

    def _hash(self, data: bytes) -> bytes:
        return blake2b(data, key=self._key, digest_size=32).digest()
