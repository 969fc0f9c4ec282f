"""The contact part of ReplaceCV (decision 14): prepared, then made the present one or dropped, as the registry decides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import orjson
import structlog
from cryptography.exceptions import InvalidTag

from contact_verification.domain import newer
from contact_verification.keys import Sealed, UnknownKey, Vault
from contact_verification.store import ContactStore
from contact_verification.store_codes import CodeStore, verifiable
from contact_verification.values import Value, Wanted, value_of
from cv_contracts.codelists import CodeLists, ContactDataType
from cv_contracts.events.contact_verification import ContactSaved
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.errors import read_body
from cv_contracts.wire.replace_cv import ReplaceContactInformationType, TypedPhoneNumberType
from servicekit.data.postgres import Database, WriteTx

log = structlog.get_logger(__name__)

PHONES_BY_PLACE: Final = ("MOBILE", "LANDLINE")
"""What a phone number without a type is, by its place among those without one, which an empty one keeps; a third is 9157."""

_INSERT: Final = """
insert into prepares (id, person_id, version, key_id, box, made_at, next_ask)
values ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp() + $6)
"""
_OF_PERSON: Final = (
    "select id, person_id, version, key_id, box from prepares where person_id = $1 order by version"
)
_WHOSE: Final = "select distinct person_id from prepares where id = any($1::uuid[])"
_REPLACED: Final = "update persons set replaced = greatest(replaced, $2) where person_id = $1"
_DELETE: Final = "delete from prepares where id = any($1::uuid[])"
_DUE: Final = """
update prepares set next_ask = clock_timestamp() + $1
where id in (select id from prepares where next_ask <= clock_timestamp() order by next_ask limit $2 for update skip locked)
returning id
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared change: what the registry must name when it commits, and the values as they will be.

    Without an id nothing will change: the values are the present ones, and the version is theirs.
    """

    id: UUID | None
    version: int
    values: Mapping[int, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Prepare:
    """A change that waits for the end of its ReplaceCV; None removes the type."""

    id: UUID
    version: int
    wanted: Wanted = field(repr=False)


class Prepares:
    """The changes that are under way."""

    def __init__(
        self, store: ContactStore, codes: CodeStore, vault: Vault, lists: CodeLists, settle_after: timedelta
    ) -> None:
        self._store = store
        self._codes = codes
        self._vault = vault
        self._lists = lists
        self._settle_after = settle_after

    @property
    def database(self) -> Database:
        return self._store.database

    async def prepare(self, person: UUID, contact_information: Mapping[str, Any]) -> Prepared:
        """Check the change as if it were saved, and keep it; raises the first fault that applies.

        What is present already needs no change, unless one under way may still replace it.
        """
        wanted = wanted_of(contact_information, self._lists)
        values = {n: v.text for n, v in wanted.items() if v is not None}
        settled = await self._store.settled(person)
        if settled is not None and self._store.is_present(settled.contacts, wanted):
            return Prepared(None, settled.version, values)
        async with self.database.write(self._store.lock(person)) as tx:
            present = await self._store.contacts(tx, person)
            await self._store.refuse_removals(tx, person, present, wanted, self._lists)
            version = await self._store.reserve(tx, person)
            prepare_id = uuid4()
            sealed = self._vault.seal(_to_text(wanted), prepare_id)
            args = (prepare_id, person, version, sealed.key_id, sealed.box, self._settle_after)
            await tx.conn.execute(_INSERT, *args)
        return Prepared(prepare_id, version, values)

    async def of_person(self, tx: WriteTx, person: UUID) -> list[Prepare]:
        """Give what is under way for a person, the oldest first."""
        rows = await tx.conn.fetch(_OF_PERSON, person)
        return [Prepare(row["id"], row["version"], self._opened(row)) for row in rows]

    async def persons(self, tx: WriteTx, ids: Sequence[UUID]) -> list[UUID]:
        """Give whom these changes are about; those that are done are about nobody."""
        return [row["person_id"] for row in await tx.conn.fetch(_WHOSE, ids)]

    async def activate(self, tx: WriteTx, person: UUID, ids: set[UUID]) -> None:
        """Make these changes the present contact data, except where something newer was saved. Under the person's lock."""
        mine = [prepare for prepare in await self.of_person(tx, person) if prepare.id in ids]
        for prepare in mine:
            await self._activate(tx, person, prepare)
        await tx.conn.execute(_DELETE, [prepare.id for prepare in mine])

    async def _activate(self, tx: WriteTx, person: UUID, prepare: Prepare) -> None:
        present = await self._store.contacts(tx, person)
        wanted = {n: v for n, v in prepare.wanted.items() if newer(present, n, prepare.version)}
        opened = await self._store.change(tx, person, present, wanted, prepare.version)
        await self._codes.send_new(tx, person, verifiable(opened, self._lists))
        await tx.conn.execute(_REPLACED, person, prepare.version)
        version = await self._store.next_version(tx, person)
        await self._store.publish(tx, ContactSaved, person, version)

    async def settle(self, committed: set[UUID], abandoned: set[UUID]) -> None:
        """Do what the registry has decided; a person whose changes cannot be opened, for their key is gone, waits alone."""
        await self.database.execute(_DELETE, list(abandoned))
        rows = await self.database.fetch(_WHOSE, list(committed))
        for row in rows:
            person: UUID = row["person_id"]
            try:
                async with self.database.write(self._store.lock(person)) as tx:
                    await self.activate(tx, person, committed)
            except (InvalidTag, UnknownKey) as error:
                log.warning("prepared_change_not_opened", error_type=type(error).__name__)

    async def due(self, most: int) -> list[UUID]:
        """Take changes that the registry has not told the end of for long; nobody else asks about them for a while."""
        return [row["id"] for row in await self.database.fetch(_DUE, self._settle_after, most)]

    async def removal_under_way(self, tx: WriteTx, person: UUID, contact_type: int) -> bool:
        """Tell whether a change under way removes this type."""
        present = await self._store.contacts(tx, person)
        return any(
            contact_type in prepare.wanted
            and prepare.wanted[contact_type] is None
            and newer(present, contact_type, prepare.version)
            for prepare in await self.of_person(tx, person)
        )

    def _opened(self, row: asyncpg.Record) -> Wanted:
        return _from_text(self._vault.open(Sealed(row["key_id"], row["box"]), row["id"]))


def wanted_of(contact_information: Mapping[str, Any], lists: CodeLists) -> Wanted:
    """Read ContactInformation of a ReplaceCV; types that are absent are removed (decision 9)."""
    request = read_body(ReplaceContactInformationType, orjson.dumps(contact_information))
    kinds: dict[str, ContactDataType] = {kind.role: kind for kind in lists.contact_data_types.values()}
    wanted: dict[int, Value | None] = {kind.id: None for kind in kinds.values()}
    for kind, written, element in list(_phones(request.PhoneNumber, lists, kinds)):
        if not written:
            continue
        if wanted[kind.id] is not None:
            raise Fault(9156 if kind.role == "MOBILE" else 9157, errors=(FieldError(element, "comes twice"),))
        wanted[kind.id] = value_of(kind, written, element)
    mail = kinds["EMAIL"]
    wanted[mail.id] = value_of(mail, request.Email, "ContactInformation.E-mail")
    return wanted


def _phones(
    items: Sequence[str | TypedPhoneNumberType], lists: CodeLists, kinds: Mapping[str, ContactDataType]
) -> Iterator[tuple[ContactDataType, str, str]]:
    """Give the type of each phone number, what is written, and the element; raises 9153 or 9157."""
    untyped = 0
    for place, item in enumerate(items):
        element = f"ContactInformation.PhoneNumber[{place}]"
        if not isinstance(item, str):
            kind = lists.contact_data_types.get(item.PersonContactDataTypeIdentifier)
            if kind is None or kind.role not in PHONES_BY_PLACE:
                raise Fault(9153, errors=(FieldError(element, "is of a type that is no phone number"),))
            yield kind, item.PhoneNumber, element
            continue
        if item:
            if untyped >= len(PHONES_BY_PLACE):
                raise Fault(9157, errors=(FieldError(element, "is one phone number too many"),))
            yield kinds[PHONES_BY_PLACE[untyped]], item, element
        untyped += 1


def _to_text(wanted: Wanted) -> str:
    return orjson.dumps(
        {str(n): None if value is None else [value.text, value.form] for n, value in wanted.items()}
    ).decode()


def _from_text(text: str) -> Wanted:
    return {int(n): None if pair is None else Value(*pair) for n, pair in orjson.loads(text).items()}
