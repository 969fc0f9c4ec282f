"""P11: a caller's token that is remembered against verifying it each time."""

import time
from collections.abc import Awaitable, Callable

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.measured import Row, Servers
from cv_gateway.jwks import KeySource
from cv_gateway.testing import AUDIENCE, ISSUER, Provider
from cv_gateway.token import TokenRules, TokenVerifier

SECONDS, ROUNDS = 0.5, 3


async def run(_servers: Servers) -> list[Row]:
    provider = Provider()
    provider.add_key("rsa", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    await provider.start()
    keys = KeySource(provider.jwks_url)
    verifier = TokenVerifier(TokenRules(ISSUER, AUDIENCE), keys)
    authorization = b"Bearer " + provider.token("rsa").encode()
    await verifier.verify(authorization)
    key = await keys.find("rsa")
    if key is None:
        raise LookupError("the provider does not publish its key")

    async def verify_again() -> None:
        jwt.decode(authorization[7:], key.public_key, algorithms=["RS256"], issuer=ISSUER, audience=AUDIENCE)

    ours, peer = [], []
    for _ in range(ROUNDS):
        peer.append(await _rate(verify_again))
        ours.append(await _rate(lambda: verifier.verify(authorization)))
    await keys.close()
    await provider.owner.stop()
    return [Row.against("P11 remembered token, verifications/s", ours, peer, at_least=20)]


async def _rate(once: Callable[[], Awaitable[object]]) -> float:
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        for _ in range(100):
            await once()
        count += 100
    return count / (time.perf_counter() - begun)
