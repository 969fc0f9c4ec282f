"""From a request to a document: found, or rendered once however many ask, and stored. Letters are rendered and forgotten."""

import asyncio
from hashlib import sha256
from typing import Any, Final

import orjson
import structlog

from cv_contracts.faults import Fault, Unavailable
from pdf_renderer.document import FrozenDocument, LetterDocument, StatedDocument
from pdf_renderer.rendering import render
from pdf_renderer.settings import WorkerSettings
from pdf_renderer.store import Asked, DocumentStore, Stored, is_full
from pdf_renderer.templates import NEWEST, TEMPLATES, Template, template_at
from pdf_renderer.typesetting import ENGINE
from servicekit.worker_pool import Workers, WorkFailed, WorkRefused

__all__ = ["Documents", "asked_for"]

log = structlog.get_logger(__name__)

UNPRINTABLE: Final = 1011


class Documents:
    """Gives documents. A rendering goes on when whoever asked first has left: the next one finds it."""

    def __init__(
        self,
        store: DocumentStore,
        workers: Workers,
        limits: WorkerSettings,
        templates: tuple[Template, ...] = TEMPLATES,
    ) -> None:
        self._store = store
        self._workers = workers
        self._templates = templates
        self._most = limits.processes + limits.waiting
        # A document that waits for a worker holds no connection: those that are stored already need them.
        self._turn = asyncio.Semaphore(limits.processes)
        self._rendering: dict[bytes, asyncio.Task[Stored]] = {}

    async def get(self, document: StatedDocument) -> Stored:
        """Give the document, stored or new; raises Fault or Unavailable when there is none."""
        asked = asked_for(document, self._templates)
        return await self._store.find(asked) or await self._rendered_once(asked, document)

    async def letter(self, document: LetterDocument) -> bytes:
        """Render a letter. Nothing of it stays here."""
        return await self._render(NEWEST.name, document.shown())

    async def _rendered_once(self, asked: Asked, document: StatedDocument) -> Stored:
        task = self._rendering.get(asked.hash)
        if task is None:
            if len(self._rendering) >= self._most:
                raise Unavailable(retry_after=1)
            task = asyncio.create_task(self._rendered(asked, document), name="render")
            self._rendering[asked.hash] = task
            task.add_done_callback(lambda ended: self._ended(asked.hash, ended))
        return await asyncio.shield(task)

    def _ended(self, key: bytes, task: "asyncio.Task[Stored]") -> None:
        del self._rendering[key]
        if not task.cancelled():
            task.exception()

    async def _rendered(self, asked: Asked, document: StatedDocument) -> Stored:
        async with self._turn, self._store.only_one(asked):
            if found := await self._store.find(asked):
                return found
            pdf = await self._render(asked.template, document.shown())
            try:
                await self._store.keep(asked, pdf)
            except Exception as error:
                if not is_full(error):
                    raise
                log.error("store_full", error_type=type(error).__name__)  # noqa: TRY400 - may quote the row
        return Stored(asked.hash, asked.template, pdf)

    async def _render(self, template: str, shown: dict[str, Any]) -> bytes:
        try:
            return await render(self._workers, template, orjson.dumps(shown))
        except WorkRefused:
            log.error("document_refused", outcome="refused")  # noqa: TRY400 - the cause may quote the document
            raise Fault(UNPRINTABLE) from None
        except WorkFailed as error:
            raise Unavailable(retry_after=1) from error


def asked_for(document: StatedDocument, templates: tuple[Template, ...] = TEMPLATES) -> Asked:
    """Say how the document is looked for, and with which template it is rendered if it is not there."""
    frozen = isinstance(document, FrozenDocument)
    template = template_at(document.timestamp, templates) if frozen else templates[-1]
    whole = {
        "input": document.shown(),
        "cv": str(document.cvId),
        "template": f"{template.name} {template.digest}",
        "engine": ENGINE,
    }
    about = {"input": document.identity(), "cv": str(document.cvId)}
    return Asked(
        hash=_hash(whole),
        identity=_hash(about),
        kind=document.kind,
        person_id=document.personId,
        cv_id=document.cvId,
        template=template.name,
        engine=ENGINE,
    )


def _hash(value: dict[str, Any]) -> bytes:
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest()
