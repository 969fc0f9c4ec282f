"""What is made of pdf-renderer's answers: a document, a fault that passes, or a mistake of ours."""

import asyncio
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cv_citizens import documents
from cv_citizens.documents import Document, Documents, way_to_renderer
from cv_citizens.renderer_testing import rendering
from cv_contracts.faults import Fault, Unexpected
from servicekit.testing import eventually
from servicekit.web.client import LIMITS, ServiceRefused, ServiceUnreachable
from servicekit.web.testing import Identities

UNREACHABLE = 8236


def answering(answer: Any) -> Documents:
    async def post(route: str, _body: dict[str, Any]) -> Any:
        assert route == "/internal/documents"
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Documents(post)


@pytest.mark.parametrize(
    ("answer", "document"),
    [
        ({"pdf": "JVBERi0=", "hash": "abc"}, Document("JVBERi0=", "abc")),
        ({"pdf": "JVBERi0="}, Document("JVBERi0=")),
    ],
)
async def test_a_document_has_a_hash_unless_it_is_a_letter(answer: Any, document: Document) -> None:
    assert await answering(answer).get({}, UNREACHABLE) == document


@pytest.mark.parametrize(
    "answer",
    [
        *(ServiceRefused("pdf-renderer", status, None) for status in (429, 502, 503, 504)),
        ServiceUnreachable("away"),
        {"hash": "no document"},
        ["no object"],
        "no object",
        None,
    ],
)
async def test_without_a_document_now_it_is_the_given_fault_to_be_tried_again(answer: Any) -> None:
    with pytest.raises(Fault) as fault:
        await answering(answer).get({}, UNREACHABLE)
    assert (fault.value.code, fault.value.retry_after) == (UNREACHABLE, 2)


@pytest.mark.parametrize("status", [400, 401, 422, 500])
async def test_a_document_that_will_never_be_rendered_is_a_mistake_of_ours(status: int) -> None:
    with pytest.raises(Unexpected):
        await answering(ServiceRefused("pdf-renderer", status, None)).get({}, UNREACHABLE)


async def test_whoever_finds_no_place_at_a_renderer_that_hangs_does_not_wait_for_the_whole_deadline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(documents, "LONGEST_WAIT", 0.1)
    signer = Identities(tmp_path, ["cv-registry"]).signers["cv-registry"]
    async with rendering() as renderer:
        renderer.mode = "slow"
        with closing(way_to_renderer(renderer.url, signer, timedelta(seconds=50))) as way:
            first = [asyncio.create_task(way.post_json("/x", {})) for _ in range(LIMITS.connections)]
            await eventually(lambda: len(renderer.authorization) == LIMITS.connections)
            with pytest.raises(Fault) as fault:
                await asyncio.wait_for(Documents(way.post_json).get({}, UNREACHABLE), 30)
            for task in first:
                task.cancel()
            await asyncio.gather(*first, return_exceptions=True)
    assert (fault.value.code, fault.value.retry_after) == (UNREACHABLE, 2)
