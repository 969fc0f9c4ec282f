"""What searching makes of the code lists: documents, queries and reference data, made anew when the lists were swapped."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Self
from uuid import UUID

from cv_contracts.codelists import CodeLists
from cv_search.document import Documents
from cv_search.port import Document
from cv_search.query import Queries
from cv_search.reference import Reference
from cv_search.refreshing import maker_of

__all__ = ["InForce"]

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Made:
    """All that is made of one version of the lists."""

    reference: Reference
    documents: Documents
    queries: Queries
    maker: str

    @classmethod
    def of(cls, lists: CodeLists) -> Self:
        reference = Reference(lists)
        return cls(reference, Documents(lists), Queries(lists, reference), maker_of(lists))


class InForce:
    """Gives what is made of the lists that are in force, all of it of one version."""

    def __init__(self, lists: CodeLists) -> None:
        self._lists = lists
        self._made = _Made.of(lists)

    async def renew(self) -> None:
        """Make all of it anew, beside the event loop."""
        self._made = await asyncio.to_thread(_Made.of, self._lists)

    def reference(self) -> Reference:
        return self._made.reference

    def queries(self) -> Queries:
        return self._made.queries

    def maker(self) -> str:
        return self._made.maker

    def document(
        self, cv_id: UUID, cv: State | None, citizen: State | None, status: State | None, day: date
    ) -> Document | None:
        """Make a document, as `Documents.document` does."""
        return self._made.documents.document(cv_id, cv, citizen, status, day)
