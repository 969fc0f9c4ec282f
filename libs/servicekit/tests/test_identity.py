"""Service tokens: who signed, for whom, for how long; every doubt is the same refusal."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cv_contracts.faults import Fault
from servicekit.caller import Caller, Organisation, User
from servicekit.settings import IdentitySettings
from servicekit.web.identity import (
    ServiceIdentity,
    ServiceSigner,
    ServiceVerifier,
    generate_key,
    public_key,
    require_service,
)

JOBCENTER = Organisation(8, "10100")
CALLER = Caller(
    client="jobcenter-system",
    own=JOBCENTER,
    active=JOBCENTER,
    request_organisation=Organisation(4, "12345678"),
    user=User("Åse Ågård", 2, "b123"),
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Pair:
    """A gateway that signs and a registry that verifies, by one clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        pem, raw = generate_key()
        key = load_pem_private_key(pem, password=None)
        assert isinstance(key, Ed25519PrivateKey)
        self.key = key
        self.raw = raw
        self.signer = ServiceSigner("gateway", key, clock=self.clock)
        self.verifier = ServiceVerifier("cv-registry", {"gateway": public_key(raw)}, clock=self.clock)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def refused(pair: Pair, token: str) -> Fault:
    with pytest.raises(Fault) as caught:
        pair.verifier.verify(token)
    return caught.value


def test_the_owner_learns_the_service_and_the_caller_whole(pair: Pair) -> None:
    token = pair.signer.token("cv-registry", CALLER)
    assert pair.verifier.verify(token) == ServiceIdentity("gateway", CALLER)


def test_a_service_may_act_on_its_own_without_a_caller(pair: Pair) -> None:
    assert pair.verifier.verify(pair.signer.token("cv-registry")) == ServiceIdentity("gateway", None)


def test_a_token_is_given_again_for_twenty_seconds_and_then_made_anew(pair: Pair) -> None:
    first = pair.signer.token("cv-registry", CALLER)
    pair.clock.now += 19
    assert pair.signer.token("cv-registry", CALLER) == first
    pair.clock.now += 2
    assert pair.signer.token("cv-registry", CALLER) != first


def test_different_callers_and_audiences_never_share_a_token(pair: Pair) -> None:
    other = Caller("other", JOBCENTER, JOBCENTER, JOBCENTER, CALLER.user)
    tokens = {
        pair.signer.token(audience, caller)
        for audience in ("cv-registry", "cv-status")
        for caller in (CALLER, other, None)
    }
    assert len(tokens) == 6


def test_a_token_lives_thirty_seconds_and_is_then_refused_although_it_was_verified_before(pair: Pair) -> None:
    token = pair.signer.token("cv-registry", CALLER)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 30
    pair.clock.now += 30
    pair.verifier.verify(token)
    pair.clock.now += 6
    assert refused(pair, token).code == 1012


def test_a_clock_that_is_a_little_behind_is_forgiven_and_a_wrong_one_is_not(pair: Pair) -> None:
    token = pair.signer.token("cv-registry")
    pair.clock.now -= 4
    pair.verifier.verify(token)
    pair.clock.now -= 30
    assert refused(Pair(), token).status == 401
    fresh = ServiceVerifier("cv-registry", {"gateway": public_key(pair.raw)}, clock=pair.clock)
    with pytest.raises(Fault):
        fresh.verify(token)


def test_a_token_signed_while_the_clock_was_ahead_is_made_anew_once_it_is_right(pair: Pair) -> None:
    pair.clock.now += 3600
    pair.signer.token("cv-registry", CALLER)
    pair.clock.now -= 3600
    assert pair.verifier.verify(pair.signer.token("cv-registry", CALLER)).caller == CALLER


def test_a_token_verified_while_the_clock_was_ahead_is_refused_once_it_is_right(pair: Pair) -> None:
    pair.clock.now += 3600
    token = pair.signer.token("cv-registry")
    pair.verifier.verify(token)
    pair.clock.now -= 3600
    assert refused(pair, token).code == 1012


def claims_of(pair: Pair, **changed: Any) -> dict[str, Any]:
    now = int(pair.clock.now)
    return {"iss": "gateway", "aud": "cv-registry", "iat": now, "exp": now + 30, **changed}


def signed(pair: Pair, claims: dict[str, Any], kid: str = "gateway") -> str:
    return jwt.encode(claims, pair.key, algorithm="EdDSA", headers={"kid": kid})


def without(pair: Pair, name: str) -> str:
    claims = claims_of(pair)
    del claims[name]
    return signed(pair, claims)


def symmetric(pair: Pair) -> str:
    secret = base64.b64decode(pair.raw)
    return jwt.encode(claims_of(pair), secret, algorithm="HS256", headers={"kid": "gateway"})


FORGERIES: dict[str, Callable[[Pair], str]] = {
    "for another service": lambda p: p.signer.token("cv-status"),
    "of an unknown service": lambda p: signed(p, claims_of(p, iss="intruder"), kid="intruder"),
    "whose issuer is not the one whose key signed": lambda p: signed(p, claims_of(p, iss="cv-status")),
    "signed by a stranger's key": lambda p: signed(Pair(), claims_of(p)),
    "with algorithm none": lambda p: jwt.encode(
        claims_of(p), "", algorithm="none", headers={"kid": "gateway"}
    ),
    "with the public key as an HMAC secret": symmetric,
    "expired": lambda p: signed(p, claims_of(p, iat=int(p.clock.now) - 60, exp=int(p.clock.now) - 30)),
    "that would live for an hour": lambda p: signed(p, claims_of(p, exp=int(p.clock.now) + 3600)),
    "that never expires": lambda p: without(p, "exp"),
    "without an audience": lambda p: without(p, "aud"),
    "without a time of issue": lambda p: without(p, "iat"),
    "without a key id": lambda p: jwt.encode(claims_of(p), p.key, algorithm="EdDSA"),
    "with a caller that is none": lambda p: signed(p, claims_of(p, caller={"client": "x"})),
    "with a changed signature": lambda p: p.signer.token("cv-registry")[:-4] + "AAAA",
    "that is not a token": lambda p: "nonsense",
    "that is empty": lambda p: "",
    "that is far too long": lambda p: "a.b." + "c" * 100_000,
}


@pytest.mark.parametrize("more", [{}, {"scopes": ["cv.read"]}])
def test_releases_that_name_a_callers_scopes_and_those_that_do_not_understand_each_other(
    pair: Pair, more: dict[str, Any]
) -> None:
    told = jwt.decode(pair.signer.token("cv-registry", CALLER), options={"verify_signature": False})["caller"]
    assert told.pop("scopes") == []
    token = signed(pair, claims_of(pair, caller={**told, **more}))
    assert pair.verifier.verify(token) == ServiceIdentity("gateway", CALLER)


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_token_is_refused_with_1012(pair: Pair, kind: str) -> None:
    fault = refused(pair, FORGERIES[kind](pair))
    assert (fault.code, fault.status) == (1012, 401)
    assert fault.__cause__ is None


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", b"bearer nonsense", "Bearer  "])
def test_a_header_without_a_valid_bearer_token_is_refused(pair: Pair, header: str | bytes | None) -> None:
    with pytest.raises(Fault) as caught:
        pair.verifier.authenticate(header)
    assert caught.value.code == 1012


def test_the_header_is_read_as_text_and_as_bytes(pair: Pair) -> None:
    token = pair.signer.token("cv-registry")
    assert pair.verifier.authenticate(f"Bearer {token}").service == "gateway"
    assert pair.verifier.authenticate(f"bearer {token}".encode()).service == "gateway"


def test_only_the_services_listed_at_a_route_may_call_it() -> None:
    gateway = ServiceIdentity("gateway")
    assert require_service(gateway, {"gateway", "cv-status"}) is gateway
    with pytest.raises(Fault) as caught:
        require_service(ServiceIdentity("cv-search"), {"gateway"})
    assert (caught.value.code, caught.value.status) == (1013, 403)


def test_caches_stay_within_their_bounds(pair: Pair) -> None:
    signer = ServiceSigner("gateway", pair.key, clock=pair.clock, cache_size=10)
    verifier = ServiceVerifier(
        "cv-registry", {"gateway": public_key(pair.raw)}, clock=pair.clock, cache_size=10
    )
    for number in range(50):
        caller = Caller(f"client-{number}", JOBCENTER, JOBCENTER, JOBCENTER, CALLER.user)
        verifier.verify(signer.token("cv-registry", caller))
    assert len(signer._signed._entries) == 10
    assert len(verifier._verified._entries) == 10


def test_keys_are_read_from_the_files_that_the_settings_name(tmp_path: Path) -> None:
    pem, raw = generate_key()
    key_file, trusted_file = tmp_path / "gateway.pem", tmp_path / "trusted.json"
    key_file.write_bytes(pem)
    trusted_file.write_text(json.dumps({"gateway": raw}))
    settings = IdentitySettings(key_file=key_file, trusted_file=trusted_file)
    token = ServiceSigner.from_settings("gateway", settings).token("cv-registry", CALLER)
    assert ServiceVerifier.from_settings("cv-registry", settings).verify(token).caller == CALLER


def test_a_caller_shows_nothing_about_the_user() -> None:
    assert "Ågård" not in repr(CALLER)
    assert "b123" not in repr(CALLER)
