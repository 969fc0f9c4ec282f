"""Nobody sees a citizen's data without a trace: each answered read has left its access row."""

import httpx
from tests.e2e.caller import STRANGER, Caller, population
from tests.e2e.system import System

_COUNT = "select count(*) from access_log where user_identifier = $1 and method = $2"


async def test_each_answered_read_has_left_its_access_row(system: System, http: httpx.AsyncClient) -> None:
    caller = Caller(system, http, user="reader-by-reader")
    one = population(120)[0]
    for _ in range(5):
        assert (await caller.get_cv(one.person_number)).status_code == 200
        assert (await caller.by_number(one.cv_number)).status_code == 200
    refused = await caller.acting(STRANGER).get_cv(one.person_number)
    assert refused.status_code == 403
    assert await system.value(_COUNT, caller.user, "GetCV") == 5
    assert await system.value(_COUNT, caller.user, "GetCVByCVNumber") == 5
