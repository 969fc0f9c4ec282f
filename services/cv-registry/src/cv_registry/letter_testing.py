"""Account letters for tests of the registry: who orders them, what was rendered, and what is kept of it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import httpx

from cv_citizens.renderer_testing import Renderer
from cv_registry.testing import RegistryClient, a_citizen
from servicekit.data.postgres import Database


@dataclass
class World:
    """A registry with pdf-renderer's stand-in beside it; `start` starts it again."""

    registry: RegistryClient
    renderer: Renderer
    database: Database
    start: Callable[[], AbstractAsyncContextManager[RegistryClient]]

    async def citizen(self, **changes: Any) -> dict[str, Any]:
        citizen = a_citizen(**changes)
        (ids,) = await self.registry.register(citizen)
        return {**citizen, **ids}

    async def change(self, citizen: dict[str, Any], **changes: Any) -> None:
        source = {name: value for name, value in citizen.items() if name in a_citizen()}
        await self.registry.register({**source, "sourceVersion": 2, **changes})

    async def order(self, citizen: dict[str, Any], **more: Any) -> httpx.Response:
        return await self.registry.letter(citizen["personNumber"], **more)

    @property
    def login(self) -> tuple[str, str]:
        """User name and password of the letter rendered last."""
        content = self.renderer.asked[-1]["content"]
        return content["userName"], content["password"]

    async def is_valid(self, login: tuple[str, str], service: str = "jobnet-login") -> Any:
        answer = await self.registry.call(
            "POST",
            "/internal/jobnet-accounts/login",
            {"userName": login[0], "password": login[1]},
            service=service,
            content_type="application/json",
        )
        return answer.json().get("valid", answer.json().get("code"))

    async def states(self) -> list[str]:
        rows = await self.database.fetch("SELECT state FROM account_letters ORDER BY ordered_at")
        return [row["state"] for row in rows]

    async def events(self) -> int:
        count: int = await self.database.fetchval(
            "SELECT count(*) FROM outbox WHERE aggregatetype LIKE '%letter%'"
        )
        return count


def code(answer: httpx.Response) -> Any:
    return answer.json().get("code", answer.status_code)
