"""Asks the local provider for a token, as any OAuth 2 client would."""

from collections.abc import Sequence

import httpx

from cvhub.servers.process import CannotStart
from servicekit.web.tls import trusting


def fetch_token(
    issuer: str,
    secret: str,
    *,
    organisations: Sequence[str],
    scopes: Sequence[str],
    own: str | None = None,
    client: str | None = None,
    algorithm: str = "ES256",
) -> str:
    """Give a bearer token. Organisations are written type:code; the client's own is by default the first of them."""
    form: dict[str, str | list[str]] = {
        "grant_type": "client_credentials",
        "client_id": client or "local-" + (own or organisations[0]).replace(":", "-"),
        "client_secret": secret,
        "scope": " ".join(scopes),
        "organisation": list(organisations),
        "alg": algorithm,
    }
    if own:
        form["own"] = own
    try:
        answer = httpx.post(f"{issuer}/token", data=form, timeout=10, trust_env=False, verify=trusting())
    except httpx.HTTPError as error:
        raise CannotStart(
            f"The identity provider at {issuer} does not answer: is cvhub running (`cvhub status`)?"
        ) from error
    body = answer.json()
    if answer.status_code != 200:
        raise CannotStart(f"The identity provider refused: {body.get('error_description')}")
    return str(body["access_token"])
