"""What the running stack's sinks were given, as the command line and the walk read it."""

from typing import Any

import httpx

from cvhub.services import SINKS
from cvhub.state import Run
from servicekit.web.tls import trusting

__all__ = ["behave", "letters", "sent"]


def sent(run: Run, channel: str = "") -> list[dict[str, Any]]:
    """Give the messages of a channel (mail, sms), or of both, the newest first."""
    params = {"channel": channel} if channel else None
    answer = httpx.get(f"{run.url(SINKS)}/sent", params=params, timeout=5, trust_env=False, verify=trusting())
    answer.raise_for_status()
    messages: list[dict[str, Any]] = answer.json()
    return messages


def letters(run: Run) -> list[dict[str, str]]:
    """Give the letters that the print service took, the newest first."""
    answer = httpx.get(f"{run.url(SINKS)}/letters", timeout=5, trust_env=False, verify=trusting())
    answer.raise_for_status()
    listed: list[dict[str, str]] = answer.json()
    return listed


def behave(run: Run, token: str, behaviour: str) -> bool:
    """Tell the print service how to behave from now on; False for a behaviour that it does not have."""
    answer = httpx.put(
        f"{run.url(SINKS)}/letters/behaviour",
        json=behaviour,
        headers={"authorization": f"Bearer {token}"},
        timeout=5,
        trust_env=False,
        verify=trusting(),
    )
    return answer.is_success
