"""Renders frozen versions before anybody asks, one at a time, so that whoever asks now does not wait behind them."""

import asyncio
from typing import Final

import orjson
import structlog

from pdf_renderer.document import FrozenDocument, read
from pdf_renderer.documents import Documents
from pdf_renderer.store import DocumentStore, Due
from servicekit.follow.state_client import Post

__all__ = ["RenderAhead"]

log = structlog.get_logger(__name__)

DOCUMENT_OF_VERSION: Final = "/internal/frozen-versions/document"
"""Route of cv-status: {"cvId", "versionId"} -> {"document": body for POST /internal/documents}, or {"erased": true}."""
MOST_ATTEMPTS: Final = 30
LOOK_EVERY: Final = 0.25
REST_AFTER_TROUBLE: Final = 2.0


class RenderAhead:
    """Works off what followers have noted. What fails is tried again with growing pauses, then left to whoever asks."""

    def __init__(self, store: DocumentStore, documents: Documents, cv_status: Post) -> None:
        self._store = store
        self._documents = documents
        self._cv_status = cv_status

    async def run(self) -> None:
        """Render whatever is due, until cancelled."""
        while True:
            try:
                worked = await self.step()
            except Exception as error:  # noqa: BLE001 - it is due again later, whatever was wrong
                log.warning("render_ahead_waits", error_type=type(error).__name__)
                await asyncio.sleep(REST_AFTER_TROUBLE)
            else:
                if not worked:
                    await asyncio.sleep(LOOK_EVERY)

    async def step(self) -> bool:
        """Render one version that is due; False when there is none. Raises what is wrong with it or with cv-status."""
        due = await self._store.take_due()
        if due is None:
            return False
        document = await self._document(due)
        if document is not None:
            await self._documents.get(document)
        await self._store.done(due)
        return True

    async def _document(self, due: Due) -> FrozenDocument | None:
        if due.attempts > MOST_ATTEMPTS:
            log.error("render_ahead_given_up", attempt=due.attempts)
            return None
        asked = {"cvId": str(due.cv_id), "versionId": str(due.version_id)}
        answer = await self._cv_status(DOCUMENT_OF_VERSION, asked)
        if answer.get("erased") is True:
            return None
        document = read(orjson.dumps(answer["document"]))
        if not isinstance(document, FrozenDocument) or document.cvId != due.cv_id:
            raise TypeError
        return document
