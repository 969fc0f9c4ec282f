"""What operators do while callers call: every service is replaced, projections are built anew, the index is lost."""

import asyncio
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import httpx
from tests.drills.drill import Scene, drill
from tests.e2e.caller import cv_saying, population
from tests.e2e.searches import numbers

from cvhub.services import SERVICES
from servicekit.testing import eventually
from servicekit.web.tls import trusting

STATUS, SEARCH = "cv-status", "cv-search"
FOUND_WITHIN = timedelta(seconds=90)
WHY = {"who": "a drill", "reason": "to see it work"}


async def _operate(scene: Scene, service: str, what: str) -> None:
    token = scene.system.signer("operator").token(service, None)
    async with httpx.AsyncClient(trust_env=False, verify=trusting(), timeout=30) as http:
        answer = await http.post(
            f"{scene.system.url(service)}/internal/operations/{what}",
            json=WHY,
            headers={"authorization": f"Bearer {token}"},
        )
    assert answer.status_code in (200, 409), answer.text


@drill(6, "cv-status is killed while it builds its citizens anew, three times")
async def rebuild_killed(scene: Scene) -> None:
    for _ in range(3):
        await _operate(scene, STATUS, "projections/citizens/rebuild")
        await scene.kill(STATUS)
        await scene.revive(STATUS)
        await scene.press.setters.has_grown(3)


@drill(
    23,
    "every service is replaced under load: a new one beside the old one, the old one is told to leave",
    no_failures=True,
)
async def rolling_restart(scene: Scene) -> None:
    for service in SERVICES:
        await _replaced(scene, service.name)


async def _replaced(scene: Scene, part: str) -> None:
    """A new instance takes over, and then the old one's port is taken by one that is newer still."""
    proxy, port = scene.proxy(part), scene.system.stack.ports[part]
    with tempfile.TemporaryDirectory() as folder:
        other = await asyncio.to_thread(scene.system.twin, part, INDEX__FOLDER=folder)
        proxy.servers = [port, other.port]
        await scene.press.have_all_grown(3)
        proxy.servers = [other.port]
        await scene.terminate(part)
        await scene.revive(part)
        proxy.servers = [other.port, port]
        await scene.press.have_all_grown(3)
        proxy.servers = [port]
        await asyncio.to_thread(other.process.stop)


@drill(None, "the search index is dropped: what was found before is found again")
async def index_dropped(scene: Scene) -> None:
    caller, one = scene.press.readers.caller, population(200)[-20]
    await caller.replace_cv(one.person_number, cv_saying("<p>kvantefalkonering</p>", one))

    async def found() -> None:
        assert await numbers(caller, "kvantefalkonering") == [one.cv_number]

    await eventually(found, FOUND_WITHIN)
    await scene.kill(SEARCH)
    await asyncio.to_thread(shutil.rmtree, Path(scene.system.state.folder / "search"))
    await scene.revive(SEARCH)
    await eventually(found, FOUND_WITHIN)
