"""The walk's step near its end: who has looked at the citizen, from the logs of all services as one."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from cvhub.access.command import collected, period, person_id
from cvhub.access.export import METHODS, pdf_of, statement_of
from cvhub.danish_time import DANISH
from cvhub.keys import key_file
from cvhub.walk.journey import Journey, NotAsItShould, Seen, Step, expect
from servicekit.web.identity import ServiceSigner, load_private_key
from servicekit.web.tls import trusting

MUST = frozenset({"GetCV", "GetCVAsPdf", "GetAvailableCVStatusVersions"})
"""What the walk has done with the citizen before this step, in two services."""
SECONDS = 30.0


async def access_log(journey: Journey) -> Seen:
    """Ask every service who looked, and set what the citizen gets."""
    rows, statement, size = await asyncio.to_thread(_asked, journey)
    counted = Counter(row["method"] for row in rows)
    if missing := MUST - counted.keys():
        raise NotAsItShould(f"the access log has no row of {', '.join(sorted(missing))}")
    kept = sorted({row["kept_by"] for row in rows})
    newest = next(look for look in statement["looks"] if look["method"] in METHODS)
    return Seen(
        f"{len(rows)} looks, kept by {', '.join(kept)}; the citizen's PDF has {size // 1024} kB\n"
        f"the newest: {newest['at'][11:19]} {newest['authority']}: {newest['what']}",
        "cvhub access-log list PERSON\ncvhub access-log export PERSON",
    )


def _asked(journey: Journey) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    signer = ServiceSigner("operator", load_private_key(key_file(journey.state.keys, "operator")))

    def ask(service: str, path: str, body: dict[str, Any]) -> Any:
        url = f"{journey.run.url(service)}/internal/operations{path}"
        bearer = {"authorization": f"Bearer {signer.token(service)}"}
        return expect(
            httpx.post(url, json=body, headers=bearer, timeout=SECONDS, trust_env=False, verify=trusting()),
            200,
        )

    asked = period(None, None, datetime.now(DANISH).date())
    subject = person_id(journey.person.person_number, ask)
    rows = collected({**asked, "subject": str(subject)}, ask)
    statement = statement_of(rows, asked, datetime.now(DANISH))
    return rows, statement, len(pdf_of(statement))


STEPS: Mapping[str, Step] = {"The citizen's access log, of all services as one": access_log}
