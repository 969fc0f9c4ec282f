"""What an operator asks about one citizen: the random id, and why the access table allows or refuses, without data."""

from typing import Any, Final

import pytest

from cv_citizens.testing import relation
from cv_registry.testing import RegistryClient, a_citizen
from servicekit.caller import Organisation

pytestmark = pytest.mark.infra

PERIOD: Final = {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}


async def asked(registry: RegistryClient, path: str, body: Any, service: str = "operator") -> Any:
    return await registry.call(
        "POST", f"/internal/operations{path}", body, service=service, content_type="application/json"
    )


async def test_an_operator_finds_the_random_id_and_is_told_of_nobody_else(registry: RegistryClient) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    found = await asked(registry, "/citizens/find", {"personNumber": citizen["personNumber"]})
    assert found.json() == {"personId": ids["personId"]}
    assert (await asked(registry, "/citizens/find", {"personNumber": "0000000000"})).json() == {}
    refused = await asked(registry, "/citizens/find", {"personNumber": "0000000000"}, "cv-status")
    assert refused.status_code == 403


async def test_why_is_told_with_the_row_and_the_relation_and_the_question_is_in_the_access_log(
    registry: RegistryClient,
) -> None:
    citizen = a_citizen(relations=[relation(Organisation(7, "461"))])
    (ids,) = await registry.register(citizen)
    body = {"personNumber": citizen["personNumber"], "method": 1, "active": {"type": 7, "code": "461"}}
    told = (await asked(registry, "/explain", body)).json()
    assert (told["allowed"], told["why"], told["row"]["kind"]) == (True, "related", "own")
    assert told["relation"] == citizen["relations"][0]
    other = (await asked(registry, "/explain", {**body, "active": {"type": 7, "code": "101"}})).json()
    assert (other["allowed"], other["fault"], other["why"], other["relation"]) == (
        False,
        4575,
        "anothers",
        None,
    )
    fund = (await asked(registry, "/explain", {**body, "active": {"type": 1, "code": "10"}})).json()
    assert (fund["fault"], fund["why"]) == (4385, "unregistered")
    for answer in (told, other, fund):
        assert not {citizen["personNumber"], ids["cvNumber"], ids["personId"]} & set(str(answer).split("'"))
    rows = (await asked(registry, "/access-log", {**PERIOD, "subject": ids["personId"]})).json()["rows"]
    assert [(row["method"], row["service"]) for row in rows] == [("explain", "operator")] * 3


async def test_an_unknown_citizen_and_a_method_that_there_is_not(registry: RegistryClient) -> None:
    body = {"personNumber": "0000000000", "method": 1, "active": {"type": 7, "code": "461"}}
    assert (await asked(registry, "/explain", body)).json() == {"unknown": True}
    assert (await asked(registry, "/explain", {**body, "method": 20})).status_code == 400
    assert (await asked(registry, "/explain", body, "gateway")).status_code == 403


async def test_an_operator_asks_who_looked_and_how_much_each_user_reads(registry: RegistryClient) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    await registry.replace(citizen["personNumber"])
    assert (await registry.get(citizen["personNumber"])).status_code == 200
    answer = await asked(registry, "/access-log", {**PERIOD, "subject": ids["personId"]})
    (row,) = [one for one in answer.json()["rows"] if one["method"] == "GetCV"]
    assert (row["subject"], row["looks"]) == (ids["personId"], 1)
    assert citizen["personNumber"] not in answer.text
    counted = (await asked(registry, "/access-log/reads", PERIOD)).json()["reads"]
    mine = next(one for one in counted if one["user_identifier"] == row["user_identifier"])
    assert mine["looks"] >= 1
    assert (await asked(registry, "/access-log", PERIOD, "cv-status")).status_code == 403
    assert (await asked(registry, "/access-log", {"since": "2020-01-01"})).status_code == 400
