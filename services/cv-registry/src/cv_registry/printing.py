"""The print service, which puts account letters into envelopes: the port, and the service behind HTTP.

PrintTrouble
├── NotTaken   the letter is certainly not printed, now or later
└── Unsure     it may have been taken: ask with the same id
"""

import asyncio
import ssl
from types import TracebackType
from typing import Final, Protocol, Self
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr

from servicekit.web.tls import trusting

__all__ = ["HttpPrintService", "NotTaken", "PrintService", "PrintTrouble", "Unsure"]

TAKEN: Final = "taken"
WITHDRAWN: Final = "withdrawn"
REFUSALS: Final = frozenset({400, 401, 403, 410, 413, 415, 422})
"""Statuses by which the print service itself refuses a letter. Any other may come from a proxy and says nothing about the letter."""


class PrintTrouble(Exception):  # noqa: N818 - says what happened
    """The print service did not say that it took a letter. The text never holds anything of it."""


class NotTaken(PrintTrouble):
    """The letter was refused, or nothing of it was ever sent."""


class Unsure(PrintTrouble):
    """No answer, or none that can be relied on."""


class PrintService(Protocol):
    """Takes letters, each once by its id, and says of an id whether it took it."""

    async def hand_over(self, letter_id: UUID, pdf: bytes) -> None:
        """Return when the letter was taken; raises NotTaken or Unsure."""

    async def withdraw(self, letter_id: UUID) -> bool:
        """Give whether the letter is withdrawn, so that it can never be taken any more; False if it has been taken.

        Raises Unsure.
        """


class _State(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: UUID
    state: str


class HttpPrintService:
    """The print service behind HTTP: PUT /letters/{id} hands over, DELETE withdraws or says that it is too late (409)."""

    def __init__(
        self, url: str, token: SecretStr | None, seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        headers = {} if token is None else {"authorization": f"Bearer {token.get_secret_value()}"}
        self._seconds = seconds
        # A connection has half of the time, so that a service that cannot be reached is told from one that does not answer.
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=seconds / 2, pool=seconds / 2),
            trust_env=False,
            verify=tls or trusting(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def hand_over(self, letter_id: UUID, pdf: bytes) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._client.put(
                    f"/letters/{letter_id}", content=pdf, headers={"content-type": "application/pdf"}
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotTaken(type(error).__name__) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unsure(type(error).__name__) from None
        if answer.status_code in REFUSALS:
            raise NotTaken(f"answer {answer.status_code}")
        if not answer.is_success or _state(answer, letter_id) != TAKEN:
            raise Unsure(f"answer {answer.status_code}")

    async def withdraw(self, letter_id: UUID) -> bool:
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._client.delete(f"/letters/{letter_id}")
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unsure(type(error).__name__) from None
        match answer.status_code, _state(answer, letter_id):
            case httpx.codes.OK, state if state == WITHDRAWN:
                return True
            case httpx.codes.CONFLICT, state if state == TAKEN:
                return False
        raise Unsure(f"answer {answer.status_code}")


def _state(answer: httpx.Response, letter_id: UUID) -> str | None:
    """Give what is said about this letter; None where it is something else that answered."""
    try:
        said = _State.model_validate_json(answer.content)
    except ValueError:
        return None
    return said.state if said.id == letter_id else None
