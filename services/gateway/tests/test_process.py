"""The gateway as a process of its own: told everything by its environment, and leaving without failing anybody."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cv_contracts.codelists import DATA
from cv_gateway.settings import Settings
from cv_gateway.testing import AUDIENCE, ISSUER, Provider, call_headers
from servicekit.testing import eventually, free_port
from servicekit.web.tls import trusting
from servicekit.web.upstream_testing import Received, ScriptedOwner, plain

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(
    settings: Callable[..., Settings], provider: Provider, registry: ScriptedOwner
) -> dict[str, str]:
    made = settings()
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
        "HTTP__PORT": str(free_port()),
        "IDENTITY__KEY_FILE": str(made.identity.key_file),
        "IDENTITY__TRUSTED_FILE": str(made.identity.trusted_file),
        "TOKEN__ISSUER": ISSUER,
        "TOKEN__AUDIENCE": AUDIENCE,
        "TOKEN__JWKS_URL": provider.jwks_url,
        "OWNERS__CV_REGISTRY": registry.url,
    }


async def _ready(url: str) -> None:
    async with httpx.AsyncClient(verify=trusting(), base_url=url) as client:
        answer = await client.get("/health/ready")
    assert answer.status_code == 200


async def test_it_leaves_on_sigterm_after_answering_all_that_it_took_in(
    environment: dict[str, str], provider: Provider, registry: ScriptedOwner, tmp_path: Path
) -> None:
    async def slowly(request: Received, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.05)
        return await plain(b'{"ok":true}')(request, writer)

    registry.answering = slowly
    url = f"http://127.0.0.1:{environment['HTTP__PORT']}"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cv_gateway", env=environment, stdout=output, stderr=output
        )
    try:
        await eventually(lambda: _started(url), timeout=timedelta(seconds=60))
        assert max(psutil.Process(process.pid).rlimit(psutil.RLIMIT_CORE)) <= 1, "no dump of its memory"
        outcomes: list[Any] = []
        headers = call_headers(provider.token())
        callers = [asyncio.create_task(_call_until_refused(url, headers, outcomes)) for _ in range(8)]
        await eventually(lambda: _at_least(len(outcomes), 24))
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*callers), 60)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert set(outcomes) == {200}
        assert b"0101010000" not in log.read_bytes()
        assert provider.token()[:20].encode() not in log.read_bytes()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _started(url: str) -> None:
    try:
        await _ready(url)
    except httpx.HTTPError as error:
        raise AssertionError("not listening yet") from error


def _at_least(value: int, least: int) -> None:
    assert value >= least


async def _call_until_refused(url: str, headers: dict[str, str], outcomes: list[Any]) -> None:
    """Call until nobody listens any more; whatever was taken in must have been answered."""
    async with httpx.AsyncClient(verify=trusting(), base_url=url, timeout=10) as client:
        while True:
            try:
                answer = await client.get("/v6/Cv", headers=headers)
            except httpx.ConnectError:
                return
            except httpx.HTTPError as error:
                outcomes.append(type(error).__name__)
                return
            outcomes.append(answer.status_code)


async def test_a_user_type_taken_off_its_list_is_refused_by_the_running_process_and_a_bad_list_changes_nothing(
    environment: dict[str, str], provider: Provider, registry: ScriptedOwner, tmp_path: Path
) -> None:
    folder, url = tmp_path / "lists", f"http://127.0.0.1:{environment['HTTP__PORT']}"
    folder.mkdir()
    registry.answering = plain(b'{"ok":true}')
    headers = call_headers(provider.token())
    kept = (DATA / "user_types.csv").read_text().splitlines()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cv_gateway", env={**environment, "CODE_LISTS": str(folder)}
    )
    try:
        await eventually(lambda: _started(url), timeout=timedelta(seconds=60))
        async with httpx.AsyncClient(verify=trusting(), base_url=url, timeout=10) as client:

            async def is_so(status: int, *, refused: bool) -> None:
                lists = (await client.get("/health/ready")).json()["checks"]["code-lists"]
                assert lists["refused"] is refused
                assert (await client.get("/v6/Cv", headers=headers)).status_code == status

            await is_so(200, refused=False)
            others = [line for line in kept if not line.startswith(headers["x-requestuser-type"] + ",")]
            assert len(others) == len(kept) - 1
            _put(folder / "user_types.csv", others)
            await eventually(lambda: is_so(400, refused=False))
            _put(folder / "user_types.csv", [*kept, kept[-1]])
            await eventually(lambda: is_so(400, refused=True))
            _put(folder / "user_types.csv", kept)
            await eventually(lambda: is_so(200, refused=False))
    finally:
        process.kill()
        await process.wait()


def _put(path: Path, lines: list[str]) -> None:
    """Put a whole file in the place of the old one, as production.md says."""
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(path)


def test_owners_are_named_as_services_however_the_environment_spells_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert list(Settings().owners) == ["cv-registry"]
    monkeypatch.delenv("OWNERS__CV_REGISTRY")
    monkeypatch.setenv("OWNERS", '{"cv-status": "https://status.test/base"}')
    assert Settings().owners == {"cv-status": "https://status.test/base"}
    monkeypatch.setenv("OWNERS", '{"cv-status": "status.test"}')
    with pytest.raises(ValueError, match="base URL"):
        Settings()
