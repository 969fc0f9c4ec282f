"""Those outside whom the system needs: who sends mail, SMS and letters, and who gives tokens."""

import re
from collections import Counter
from datetime import timedelta

import httpx
from tests.drills.drill import Scene, drill
from tests.e2e.caller import population
from tests.e2e.contacts import MAIL, MOBILE, save

from servicekit.testing import eventually

SAVERS = 6
PATIENCE = timedelta(seconds=90)


@drill(
    None,
    "the senders of mail, SMS and letters are away for 15 s, while contact data are saved: every code comes",
)
async def senders_away(scene: Scene) -> None:
    await scene.kill("sinks")
    wanted: Counter[str] = Counter()
    caller = scene.press.readers.caller
    for number, one in enumerate(population(200)[-SAVERS:]):
        values = {MAIL: f"borger.{number}@drill.example.com", MOBILE: f"+452600090{number}"}
        answer = await save(caller, one, dict(values))
        assert answer.status_code == httpx.codes.OK, answer.text
        wanted.update(values.values())
    await scene.lasts(15)
    await scene.revive("sinks")

    async def come() -> None:
        sent = (await caller.http.get(scene.system.url("sinks") + "/sent")).json()
        codes = Counter(one["to"] for one in sent if re.search(r"\b[0-9]{6}\b", one["text"]))
        assert Counter({to: codes[to] for to in wanted}) == wanted

    await eventually(come, PATIENCE)


@drill(None, "the provider of tokens is away for 15 s: whoever has a token goes on", no_failures=True)
async def tokens_away(scene: Scene) -> None:
    await scene.kill("idp")
    await scene.lasts(15)
