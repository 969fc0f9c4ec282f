"""Searches kept for their later pages: who searched, the persons found in their order, and the groups.

They are kept in the database, so that every process and instance of the service can show a page of any of them. The
persons are kept by their random ids: a moment of the index need not be held, and whoever leaves the index meanwhile is
not shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from typing import Final
from uuid import UUID, uuid4

import orjson

from cv_contracts.faults import Fault, FieldError
from cv_search.port import ID_BYTES, cvs_of
from cv_search.query import Page
from cv_search.settings import MOST_PERSONS, PinSettings
from servicekit.caller import Caller
from servicekit.data.postgres import Database

__all__ = ["FEW", "TIDY_EVERY", "Kept", "Pin", "Pins", "owner_of"]

TIDY_EVERY: Final = timedelta(seconds=1)
FEW: Final = 25
"""Total and groups of so few tell of each of them, whatever page is shown."""
OVERHEAD: Final = 1_000
"""What one costs beside what it holds, in bytes."""

_KEEP: Final = """
insert into kept_searches (id, owner, total, named, shape, groups, ids) values ($1, $2, $3, $4, $5, $6, $7)
"""
_GET: Final = f"""
select total, named, shape, groups, case when total <= {FEW} then ids else substring(ids from $4 for $5) end as ids
from kept_searches where id = $1 and owner = $2 and made_at > clock_timestamp() - $3::interval
"""
_SIZE: Final = f"named * {ID_BYTES} + octet_length(groups) + {OVERHEAD}"
_TIDY: Final = f"""
delete from kept_searches where made_at <= clock_timestamp() - $1::interval or made_at <= (
    select max(made_at) from (select made_at, sum({_SIZE}) over (order by made_at desc) as room from kept_searches) as newest
    where room > $2
)
"""
_KEPT: Final = f"select count(*) as searches, coalesce(sum({_SIZE}), 0)::bigint as bytes from kept_searches"


@dataclass(frozen=True, slots=True)
class Pin:
    """One search as it was. `shape` says what was asked for, without the words; `named` persons can be paged through."""

    total: int
    named: int
    shape: Mapping[str, int]
    groups: bytes = field(repr=False)

    @property
    def is_of_few(self) -> bool:
        """Whether any page of it tells of all who were found."""
        return self.total <= FEW


@dataclass(frozen=True, slots=True)
class Kept:
    """How many searches are kept, and the room they take."""

    searches: int
    bytes: int


class Pins:
    """The searches of all instances, by id. Each is its caller's own; the oldest make room for new ones."""

    def __init__(self, database: Database, settings: PinSettings) -> None:
        self._database = database
        self._lifetime = settings.lifetime
        self._room = settings.memory_mb << 20

    async def keep(self, owner: bytes, pin: Pin, ids: bytes) -> UUID:
        """Keep a search with the ids of the persons it names; gives its id."""
        number = uuid4()
        shape = orjson.dumps(pin.shape)
        await self._database.execute(_KEEP, number, owner, pin.total, pin.named, shape, pin.groups, ids)
        return number

    async def page(self, number: UUID, owner: bytes, page: Page) -> tuple[Pin, list[UUID]]:
        """Give a search of this caller, and the CVs that a page tells of: those on it, none past the end; of few all.

        Raises fault 1014 where nothing is kept (any more).
        """
        begin, size = min(page.begin, MOST_PERSONS) * ID_BYTES + 1, page.size * ID_BYTES
        row = await self._database.fetchrow(_GET, number, owner, self._lifetime, begin, size)
        if row is None:
            reason = "is not the id of a search of yours, or the search has expired: search again"
            raise Fault(1014, errors=(FieldError("searchInput.Id", reason),))
        pin = Pin(row["total"], row["named"], orjson.loads(row["shape"]), row["groups"])
        return pin, cvs_of(row["ids"])

    async def tidy(self) -> None:
        """Let go of the searches that have expired, and of the oldest beyond the room there is."""
        await self._database.execute(_TIDY, self._lifetime, self._room)

    async def kept(self) -> Kept:
        return Kept(**dict(await self._database.fetchrow(_KEPT) or {}))


def owner_of(caller: Caller) -> bytes:
    """Give what a search is bound to: the client, for whom it acts, and its user."""
    organisations = (caller.own, caller.active, caller.request_organisation)
    user = (caller.user.type, caller.user.identifier, caller.user.name)
    parts = (caller.client, [(one.type, one.code) for one in organisations], user)
    return blake2b(repr(parts).encode(), digest_size=16).digest()
