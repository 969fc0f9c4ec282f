"""The provider's three routes: discovery, keys, and tokens for client credentials (RFC 6749, 4.4).

Whoever knows the machine's one client secret gets a token for any organisation: this is a stand-in for a real
provider on a developer's machine, which would hold each client's organisations itself.
"""

import hmac
import re
import time
import uuid
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cvhub.idp.keys import ALGORITHMS, Algorithm, KeyFolder

AUDIENCE = "cvhub"
LIFE_SECONDS = 3600
_ORGANISATION = re.compile(r"([0-9]{1,9}):([0-9A-Za-z._-]{1,20})")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
_CLIENT = re.compile(r"[0-9A-Za-z._-]{1,255}")
Form = Mapping[str, list[str]]


class Refusal(Exception):  # noqa: N818 - RFC 6749 calls it an error response
    """An error response of RFC 6749, 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.body = {"error": error, "error_description": description}
        self.status = status


@dataclass(frozen=True)
class Provider:
    """`issuer` is the base URL without a slash at its end; `secret` is the one secret of all local clients."""

    issuer: str
    secret: str
    keys: KeyFolder


def create_app(provider: Provider) -> Starlette:
    async def discovery(_: Request) -> JSONResponse:
        return JSONResponse(_metadata(provider.issuer))

    async def jwks(_: Request) -> JSONResponse:
        return JSONResponse(provider.keys.jwks(), headers={"cache-control": "public, max-age=60"})

    async def token(request: Request) -> JSONResponse:
        try:
            form = _form(await request.body())
            client = _authenticate(provider.secret, request.headers, form)
            body = _issue(provider, client, form)
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status, headers={"cache-control": "no-store"})
        return JSONResponse(body, headers={"cache-control": "no-store"})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/.well-known/openid-configuration", discovery),
            Route("/jwks.json", jwks),
            Route("/token", token, methods=["POST"]),
            Route("/health/ready", health),
        ]
    )


def _metadata(issuer: str) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks.json",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "id_token_signing_alg_values_supported": list(ALGORITHMS),
        "response_types_supported": [],
        "subject_types_supported": ["public"],
    }


def _authenticate(secret: str, headers: Mapping[str, str], form: Form) -> str:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client, _, given = b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            raise Refusal("invalid_client", "the authorization header is not readable", 401) from None
        client, given = unquote(client), unquote(given)
    else:
        client, given = _field(form, "client_id"), _field(form, "client_secret")
    if not _CLIENT.fullmatch(client) or not hmac.compare_digest(given.encode(), secret.encode()):
        raise Refusal("invalid_client", "unknown client or wrong secret", 401)
    return client


def _issue(provider: Provider, client: str, form: Form) -> dict[str, Any]:
    if _field(form, "grant_type") != "client_credentials":
        raise Refusal("unsupported_grant_type", "only client_credentials is offered")
    scope = _field(form, "scope")
    if not _SCOPE.fullmatch(scope):
        raise Refusal("invalid_scope", "scope is one or more words with a space between")
    organisations = [_organisation(text) for text in form.get("organisation", [])]
    if not organisations:
        raise Refusal("invalid_request", "organisation (type:code) is missing")
    key = provider.keys.signing(_algorithm(_field(form, "alg", "ES256")))
    now = int(time.time())
    claims = {
        "iss": provider.issuer,
        "aud": AUDIENCE,
        "sub": client,
        "client_id": client,
        "scope": scope,
        "organisation": _organisation(_field(form, "own")) if "own" in form else organisations[0],
        "may_act_as": organisations,
        "iat": now,
        "exp": now + LIFE_SECONDS,
        "jti": str(uuid.uuid4()),
    }
    signed = jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid})
    return {"access_token": signed, "token_type": "Bearer", "expires_in": LIFE_SECONDS, "scope": scope}


def _form(body: bytes) -> Form:
    try:
        return parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=200)
    except ValueError:
        raise Refusal("invalid_request", "the body is not a form") from None


def _field(form: Form, name: str, default: str = "") -> str:
    return form.get(name, [default])[0]


def _algorithm(name: str) -> Algorithm:
    for algorithm in ALGORITHMS:
        if algorithm == name:
            return algorithm
    raise Refusal("invalid_request", f"alg is one of {', '.join(ALGORITHMS)}")


def _organisation(text: str) -> dict[str, Any]:
    match = _ORGANISATION.fullmatch(text)
    if match is None:
        raise Refusal("invalid_request", "an organisation is written type:code, as in 8:10100")
    return {"type": int(match[1]), "code": match[2]}
