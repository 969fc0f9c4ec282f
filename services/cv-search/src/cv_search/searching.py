"""SearchCVText: may this caller search, what is found, and the page that is shown. No answer leaves before its access row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cv_citizens.policy import Actor, fault_of_organisation
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.errors import read_body
from cv_contracts.wire.search import SearchCVTextRequest, SearchInputType
from cv_search.confirming import Confirming
from cv_search.indexing import Indexer
from cv_search.pins import Pin, Pins, owner_of
from cv_search.port import ID_BYTES, Query, cvs_of
from cv_search.query import Page, Queries, page_of
from cv_search.readers import IndexDoubted, Readers
from cv_search.searcher import Answered
from cv_search.showing import cut_groups
from cv_search.store import SearchDocuments, Shown
from servicekit.caller import Caller
from servicekit.data.access_log import AccessLog, AccessRow
from servicekit.data.consistency import DEFAULT_WAIT, Applied, ConsistencyToken

__all__ = ["METHOD", "NAME", "SearchCall", "Searching"]

METHOD: Final = 5
NAME: Final = "SearchCVText"
NO_RESULT: Final = b"{}"
NEW: Final = UUID(int=0)

_NOT_SHAPE: Final = {"Id", "GroupLimit", "PageNumber", "ResultsPerPage", "UpdatedBefore", "UpdatedLaterThan"}


@dataclass(frozen=True, slots=True)
class SearchCall:
    """One call of SearchCVText, as far as its headers say."""

    caller: Caller
    seen: ConsistencyToken


class Searching:
    """Searches, and shows further pages of what was found."""

    def __init__(
        self,
        *,
        documents: SearchDocuments,
        indexer: Indexer,
        readers: Readers,
        pins: Pins,
        queries: Callable[[], Queries],
        confirming: Confirming,
        applied: Applied,
        access_log: AccessLog,
        persons: int,
    ) -> None:
        self._documents = documents
        self._indexer = indexer
        self._readers = readers
        self._pins = pins
        self._queries = queries
        self._confirming = confirming
        self._applied = applied
        self._access_log = access_log
        self._persons = persons

    async def __call__(self, call: SearchCall, body: bytes) -> bytes:
        """Answer, or raise the first fault that applies."""
        wanted = read_body(SearchCVTextRequest, body).searchInput
        query = None if wanted is None else self._queries().query(wanted)
        if code := fault_of_organisation(METHOD, Actor.of(call.caller)):
            raise Fault(code)
        if wanted is None or query is None:
            return NO_RESULT
        await self._applied_and_indexed(call.seen)
        page = page_of(wanted)
        if wanted.Id == NEW:
            number, pin, cvs = await self._searched(call, wanted, query, page)
        else:
            number = wanted.Id
            pin, cvs = await self._pins.page(number, owner_of(call.caller), page)
        _check(page, pin)
        told = await self._documents.shown(cvs)
        on_page = cvs[page.begin : page.end] if pin.is_of_few else cvs
        shown = await self._confirming([told[cv] for cv in on_page if cv in told and told[cv].json])
        noted = [told[cv] for cv in cvs if cv in told] if pin.is_of_few else shown
        await self._access_log.record(_access_row(call, pin, page, noted))
        return _answer(number, pin, page, wanted.GroupLimit, shown)

    async def _applied_and_indexed(self, seen: ConsistencyToken) -> None:
        """Wait until the index holds all that the caller has seen."""
        if not seen.entries:
            return
        await self._applied.wait_for(seen)
        change = await self._documents.change_of([subject for _, subject in seen.entries])
        await self._indexer.covers(change, DEFAULT_WAIT)

    async def _searched(
        self, call: SearchCall, wanted: SearchInputType, query: Query, page: Page
    ) -> tuple[UUID, Pin, list[UUID]]:
        """Search, and keep what was found for its later pages; gives what `Pins.page` gives of those."""
        found = await self._found(query)
        pin = Pin(found.total, min(found.total, self._persons), _shape(wanted), found.groups)
        number = await self._pins.keep(owner_of(call.caller), pin, found.ids)
        ids = found.ids if pin.is_of_few else found.ids[page.begin * ID_BYTES : page.end * ID_BYTES]
        return number, pin, cvs_of(ids)

    async def _found(self, query: Query) -> Answered:
        """Search; where another index took the place of the one being searched, search that one."""
        while True:
            serving = self._indexer.serving
            try:
                return await self._readers.search(serving, query, self._persons)
            except IndexDoubted:
                if self._indexer.serving.place == serving.place:
                    self._indexer.doubt(serving.place)
                    raise


def _check(page: Page, pin: Pin) -> None:
    if page.begin >= pin.named and pin.named < pin.total:
        reason = f"lies beyond the first {pin.named} persons, which can be paged through: narrow the search"
        raise Fault(1014, errors=(FieldError("searchInput.PageNumber", reason),))


def _answer(number: UUID, pin: Pin, page: Page, group_limit: int, shown: Sequence[Shown]) -> bytes:
    persons = b",".join(one.json for one in shown if one.json)
    return b'{"SearchCVTextResult":{"Id":"%b","PageNumber":%d,"TotalResults":%d,"CVPersons":[%b],%b}}' % (
        str(number).encode(),
        page.number,
        pin.total,
        persons,
        cut_groups(pin.groups, group_limit),
    )


def _shape(wanted: SearchInputType) -> dict[str, int]:
    """Give which elements were sent and how many values each had, nothing of the values themselves."""
    sent = wanted.model_dump(exclude_defaults=True, exclude=_NOT_SHAPE)
    return {
        name: len(value) if isinstance(value, tuple | list) else 1 for name, value in sent.items() if value
    }


def _access_row(call: SearchCall, pin: Pin, page: Page, noted: Sequence[Shown]) -> AccessRow:
    detail = {
        "query": pin.shape,
        "found": pin.total,
        "page": page.number,
        "shown": [str(one.person_id) for one in noted],
    }
    return AccessRow(None, NAME, call.caller, detail=detail)
