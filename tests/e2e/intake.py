"""Telling the registry of citizens, as their source does."""

import httpx
from tests.e2e.caller import Json
from tests.e2e.system import REGISTRY, System


async def deliver(system: System, http: httpx.AsyncClient, citizen: Json) -> None:
    """Tell the registry of a citizen, as their source does."""
    token = system.signer("citizen-intake").token(REGISTRY, None)
    answer = await http.post(
        f"{system.url(REGISTRY)}/internal/citizens",
        json={"citizens": [citizen]},
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.json()["results"][0]["outcome"] == "applied", answer.text
