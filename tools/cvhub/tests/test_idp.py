"""The local identity provider: tokens that a verifier accepts by the published keys, and RFC 6749's refusals."""

import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from cvhub.idp.app import Provider, create_app
from cvhub.idp.keys import ALGORITHMS, KeyFolder

ISSUER = "http://127.0.0.1:8090"
FORM = {
    "grant_type": "client_credentials",
    "client_id": "some-client",
    "client_secret": "right",
    "scope": "cv.read cv.write",
    "organisation": ["8:10100", "1:101"],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys made once, since an RSA key takes its time."""
    path = tmp_path_factory.mktemp("idp") / "keys"
    KeyFolder(path).prepare()
    return path


@pytest.fixture
def keys(prepared: Path, tmp_path: Path) -> KeyFolder:
    folder = KeyFolder(Path(shutil.copytree(prepared, tmp_path / "keys")))
    folder.prepare()
    return folder


@pytest.fixture
def client(keys: KeyFolder) -> httpx.AsyncClient:
    app = create_app(Provider(ISSUER, "right", keys))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER)


async def _claims(client: httpx.AsyncClient, bearer: str) -> dict[str, Any]:
    jwks = jwt.PyJWKSet.from_dict((await client.get("/jwks.json")).json())
    key = jwks[jwt.get_unverified_header(bearer)["kid"]]
    claims: dict[str, Any] = jwt.decode(
        bearer, key.key, algorithms=[key.algorithm_name], audience="cvhub", issuer=ISSUER
    )
    return claims


async def _bearer(client: httpx.AsyncClient, **form: Any) -> str:
    answer = await client.post("/token", data={**FORM, **form})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_verifies_by_the_published_keys(client: httpx.AsyncClient, algorithm: str) -> None:
    bearer = await _bearer(client, alg=algorithm)
    assert jwt.get_unverified_header(bearer)["alg"] == algorithm
    assert (await _claims(client, bearer))["iss"] == ISSUER


async def test_a_token_says_who_the_client_is_and_as_whom_it_may_act(client: httpx.AsyncClient) -> None:
    claims = await _claims(client, await _bearer(client, own="4:12345678"))
    assert claims["client_id"] == claims["sub"] == "some-client"
    assert claims["scope"] == "cv.read cv.write"
    assert claims["organisation"] == {"type": 4, "code": "12345678"}
    assert claims["may_act_as"] == [{"type": 8, "code": "10100"}, {"type": 1, "code": "101"}]
    assert claims["jti"]
    assert claims["iat"] <= time.time() < claims["exp"]


async def test_the_first_organisation_is_the_clients_own_when_none_is_named(
    client: httpx.AsyncClient,
) -> None:
    assert (await _claims(client, await _bearer(client)))["organisation"] == {"type": 8, "code": "10100"}


async def test_no_private_part_of_a_key_is_published(client: httpx.AsyncClient) -> None:
    for key in (await client.get("/jwks.json")).json()["keys"]:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key)


async def test_discovery_leads_to_the_token_endpoint_and_the_keys(client: httpx.AsyncClient) -> None:
    metadata = (await client.get("/.well-known/openid-configuration")).json()
    assert metadata["issuer"] == ISSUER
    assert (await client.get(metadata["jwks_uri"])).status_code == 200
    assert (await client.post(metadata["token_endpoint"], data=FORM)).status_code == 200


async def test_the_secret_may_come_by_basic_authentication(client: httpx.AsyncClient) -> None:
    form = {name: value for name, value in FORM.items() if not name.startswith("client_")}
    answer = await client.post("/token", data=form, auth=("some-client", "right"))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": ""}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": ""}, 400, "invalid_scope"),
        ({"organisation": []}, 400, "invalid_request"),
        ({"organisation": ["8-10100"]}, 400, "invalid_request"),
        ({"own": "x"}, 400, "invalid_request"),
        ({"alg": "none"}, 400, "invalid_request"),
    ],
)
async def test_a_wrong_request_is_refused_as_the_rfc_says(
    client: httpx.AsyncClient, change: dict[str, Any], status: int, error: str
) -> None:
    answer = await client.post("/token", data={**FORM, **change})
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"


async def test_after_a_rotation_new_tokens_have_new_keys_and_old_ones_still_verify(
    client: httpx.AsyncClient, keys: KeyFolder
) -> None:
    old = await _bearer(client)
    keys.rotate()
    new = await _bearer(client)
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    await _claims(client, old)
    await _claims(client, new)


async def test_keys_outlive_a_restart_and_are_readable_by_their_owner_only(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    bearer = await _bearer(client)
    again = KeyFolder(tmp_path / "keys")
    again.prepare()
    assert jwt.get_unverified_header(bearer)["kid"] in {key["kid"] for key in again.jwks()["keys"]}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "keys").iterdir())
