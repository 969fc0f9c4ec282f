"""Frozen versions as documents: the one place that says what goes into one, for whoever asks and for rendering ahead."""

from typing import Any, Final
from uuid import UUID

import orjson

from cv_citizens.documents import Document, Documents, hidden_address
from cv_contracts.codelists import UNKNOWN_NAME, CodeLists
from cv_contracts.ids import CvId
from cv_contracts.methods import METHOD_BY_NUMBER
from cv_status.store import FrozenVersion, StatusStore, WholeVersion

METHOD: Final = 7
UNREACHABLE: Final = METHOD_BY_NUMBER[METHOD].unreachable_fault


class FrozenDocuments:
    """Gives frozen versions as documents, rendered by pdf-renderer; who may see them is decided before."""

    def __init__(self, store: StatusStore, documents: Documents, lists: CodeLists) -> None:
        self._store = store
        self._documents = documents
        self._lists = lists

    async def rendered(self, whole: WholeVersion, *, with_address: bool) -> Document:
        """Give the document; without the address it is another document of the same version."""
        return await self._documents.get(self._document(whole, with_address=with_address), UNREACHABLE)

    async def whole_document(self, cv_id: CvId, version_id: UUID) -> dict[str, Any] | None:
        """Give what is asked of pdf-renderer for this version with its address; None once it was erased."""
        whole = await self._store.whole(cv_id, version_id)
        return None if whole is None else self._document(whole, with_address=True)

    def municipality(self, version: FrozenVersion) -> tuple[str, str]:
        """Give code and name of the municipality that a version was frozen for."""
        return self._lists.municipality(version.municipality)

    def _document(self, whole: WholeVersion, *, with_address: bool) -> dict[str, Any]:
        version = whole.version
        code, name = self.municipality(version)
        status = self._lists.cv_statuses.get(version.status)
        return {
            "kind": "frozen",
            "personId": str(whole.person_id),
            "cvId": str(whole.cv_id),
            "timestamp": version.frozen_at.isoformat(),
            "status": {"id": version.status, "name": UNKNOWN_NAME if status is None else status.name},
            "municipality": {"code": code, "name": name},
            "content": orjson.Fragment(whole.content if with_address else _without_address(whole.content)),
        }


def _without_address(content: bytes) -> bytes:
    profile = orjson.loads(content)
    personal = profile["PersonalData"]
    personal["PostalAddress"] = hidden_address(personal["PostalAddress"]["CountryCode"])
    return orjson.dumps(profile)
