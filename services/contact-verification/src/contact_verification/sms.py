"""SMS through an HTTP gateway: one POST per message, JSON, repeated ones known by their idempotency key."""

from typing import Final

import httpx

from contact_verification.messages import Outgoing, Passing, PutOff, Refused
from contact_verification.settings import SmsSettings
from servicekit.web.tls import trusting

PASSING: Final = frozenset({401, 403, 404, 405, 407, 408, 421, 425, 429})
"""Answers below 500 that pass: too early, too many, or our own log-in or address of the gateway that must be put right."""
UNDER_WAY: Final = 409
"""Answer that says that the gateway is busy with this very message."""
NOBODY_THERE: Final = frozenset({410, 422})
"""Answers that say that the number cannot be reached."""


class HttpSms:
    """The SMS gateway of the settings, as a provider."""

    name = "sms"

    def __init__(self, settings: SmsSettings, timeout: float) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False, verify=trusting())

    async def aclose(self) -> None:
        await self._client.aclose()

    async def send(self, message: Outgoing) -> None:
        body = {"id": str(message.id), "to": message.to, "from": self._settings.sender, "text": message.text}
        try:
            answer = await self._client.post(self._settings.url, json=body, headers=self._headers(message))
        except httpx.HTTPError as error:
            raise Passing(type(error).__name__) from None
        status = answer.status_code
        if status == UNDER_WAY:
            raise PutOff(f"answer {status}")
        if status in PASSING or not (answer.is_success or answer.is_client_error):
            raise Passing(f"answer {status}")
        if not answer.is_success:
            raise Refused(f"answer {status}", unreachable=status in NOBODY_THERE)

    def _headers(self, message: Outgoing) -> dict[str, str]:
        headers = {"idempotency-key": str(message.id)}
        if self._settings.token is not None:
            headers["authorization"] = f"Bearer {self._settings.token.get_secret_value()}"
        return headers
