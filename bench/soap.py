"""P10: GetCV as SOAP through the gateway against the same service by spyne, and against our own REST.

All three ask the same registry for the same CVs, in turns. Ours checks token, scope and organisation; spyne's does not.
spyne is in the dependency group `bench` of this workspace and runs on Python 3.11 only.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import httpx
from lxml import etree

from bench.gateway import JOBNET, ROUNDS, _load, _request, _told
from bench.measured import Row, Servers
from bench.system import System
from cv_contracts.methods import METHODS
from cv_gateway.soap.faults import ENVELOPE
from cv_gateway.soap.mapping import CITIZEN
from cv_gateway.soap.reading import read
from cv_gateway.soap.testing import call_envelope, caller_blocks
from servicekit.testing import free_port

CITIZENS = 5_000
GOAL_SPYNE, GOAL_REST = 3.0, 0.6
GET_CV = METHODS[0]


async def run(servers: Servers) -> list[Row]:
    if find_spec("spyne") is None:
        raise RuntimeError("spyne is missing: `.venv/bin/uv pip install --group bench`")
    async with System.prepared(servers, "p10") as system:
        people = await system.fill(CITIZENS)
        await system.start_owners()
        await system.start_gateway()
        system.ports["spyne"] = free_port()
        await system.start(
            "spyne",
            "-m",
            "bench.spyne_service",
            OWNER_PORT=str(system.ports["cv-registry"]),
            KEY=str(system.folder / "gateway.pem"),
            PORT=str(system.ports["spyne"]),
        )
        await system.delivered()
        await system.vacuumed()
        active = [line["citizen"] for line in people if line.get("cv") and not line["citizen"].get("dead")]
        numbers = [one["personNumber"] for one in active]
        return await _measured(system, await _answered(system, numbers))


async def _answered(system: System, numbers: Sequence[str]) -> list[str]:
    """Keep those of whom a CV is answered."""
    headers = system.headers(JOBNET)
    kept = []
    async with httpx.AsyncClient(base_url=system.url("gateway"), timeout=30, trust_env=False) as client:
        for number in numbers[:1_000]:
            asked = {**headers, "x-civilregistrationidentifier": number}
            if (await client.get(GET_CV.path, headers=asked)).status_code == 200:
                kept.append(number)
    return kept


async def _answer(system: System, side: str, request: str) -> Any:
    """Give what one side answers, read as JSON."""
    _, _, content = request.partition("\r\n\r\n")
    headers = {**system.headers(JOBNET), "content-type": "text/xml; charset=utf-8"}
    async with httpx.AsyncClient(base_url=system.url(side), timeout=30, trust_env=False) as client:
        answer = await client.post("/soap/v6", content=content.encode(), headers=headers)
    return read(etree.fromstring(answer.content).find(f"{{{ENVELOPE}}}Body")[0])


async def _measured(system: System, numbers: Sequence[str]) -> list[Row]:
    headers = system.headers(JOBNET)
    rest = [_request("GET", GET_CV.path, {**headers, "x-civilregistrationidentifier": n}) for n in numbers]
    posted = {"authorization": headers["authorization"], "content-type": "text/xml; charset=utf-8"}
    blocks = caller_blocks(101, "1")
    soap = [
        _request("POST", "/soap/v6", posted, call_envelope(GET_CV, {CITIZEN: n}, blocks)) for n in numbers
    ]
    if await _answer(system, "gateway", soap[0]) != await _answer(system, "spyne", soap[0]):
        raise RuntimeError("spyne answers something else than the gateway")
    asked = {"SOAP": ("gateway", soap), "spyne": ("spyne", soap), "REST": ("gateway", rest)}
    rates: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(ROUNDS):
        for name, (side, requests) in asked.items():
            system.servers.say(f"P10: {name}, round {number + 1} of {ROUNDS}")
            result = await _load(system, side, requests)
            rates[name].append(result["per_second"])
            if number == ROUNDS - 1:
                system.servers.note(f"P10 {name}: {_told(result)}")
    return [
        Row.against("P10 GetCV as SOAP against spyne, requests/s", rates["SOAP"], rates["spyne"], GOAL_SPYNE),
        Row.against(
            "P10 GetCV as SOAP against our REST, requests/s", rates["SOAP"], rates["REST"], GOAL_REST
        ),
    ]
