"""The walk's very last step: somebody is taken in, gets a CV, and is erased in every service, each giving its receipt."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx

from cvhub.erasing.carrying_out import Erasing, Services
from cvhub.erasing.command import WAIT_SECONDS, report_of
from cvhub.erasing.orders import Orders
from cvhub.idp.__main__ import client_secret
from cvhub.idp.client import fetch_token
from cvhub.keys import key_file
from cvhub.people import SEED
from cvhub.synthetic import SyntheticCitizen, citizens
from cvhub.walk.journey import CLIENT, JOBNET, Journey, NotAsItShould, Seen, Step, expect, fault
from servicekit.web.identity import ServiceSigner, load_private_key

REGISTRY = "cv-registry"
REASON = "the walk ends with it"
FIRST, MOST = 2_000_000, 1_000_000
"""Where the citizens lie of whom each walk takes another one; no stack is filled with so many."""


async def erase(journey: Journey) -> Seen:
    """Nobody whom the walk has shown is erased: the next one is to find them again."""
    one = await _taken_in(journey)
    headers = {"x-civilregistrationidentifier": one.person_number}
    journey.tokens[JOBNET] = await asyncio.to_thread(
        fetch_token,
        journey.run.url("idp"),
        client_secret(journey.state.idp),
        organisations=[JOBNET],
        scopes=["cv.read", "cv.write"],
        client=CLIENT,
    )
    expect(await journey.call("PUT", "/v6/Cv", JOBNET, headers=headers, body=one.cv), 200)
    expect(await journey.call("GET", "/v6/Cv", JOBNET, headers=headers), 200)
    report = await asyncio.to_thread(_erased, journey, one.person_number)
    if report["missing"]:
        raise NotAsItShould(f"no receipt from {', '.join(report['missing'])} after {WAIT_SECONDS:.0f} s")
    gone = fault(await journey.call("GET", "/v6/Cv", JOBNET, headers=headers), 404, 1010)
    receipts = report["receipts"].values()
    rows = sum(sum(receipt["removed"].values()) for receipt in receipts)
    stay = sum(report["accessRows"].values())
    return Seen(
        f"{rows} rows gone from {len(receipts)} services, each with its receipt; {stay} access row stays; {gone}",
        "cvhub erase PERSON --reason 'asked for'",
    )


async def _taken_in(journey: Journey) -> SyntheticCitizen:
    start = FIRST + int(time.time()) % MOST
    one = next(
        one
        for one in citizens(SEED, 100, start=start)
        if one.cv_state == "ACTIVE" and not one.citizen.get("dead")
    )
    signer = ServiceSigner("citizen-intake", load_private_key(key_file(journey.state.keys, "citizen-intake")))
    bearer = {"authorization": f"Bearer {signer.token(REGISTRY)}"}
    url = f"{journey.run.url(REGISTRY)}/internal/citizens"
    answer: httpx.Response = await journey.client.post(url, json={"citizens": [one.citizen]}, headers=bearer)
    outcome = expect(answer, 200)["results"][0]["outcome"]
    if outcome == "refused":
        raise NotAsItShould("the registry refuses a new citizen")
    return one


def _erased(journey: Journey, person_number: str) -> dict[str, Any]:
    orders = Orders(journey.state.folder / "erasures.sqlite3")
    try:
        erasing = Erasing(orders, Services(journey.state))
        order = erasing.carry_out(erasing.order(person_number, REASON, "the walk"))
        erasing.collect([order], WAIT_SECONDS, lambda *_: None)
        return report_of(erasing, order)
    finally:
        orders.close()


STEPS: Mapping[str, Step] = {"Erasure: a citizen leaves for good, and every service says so": erase}
