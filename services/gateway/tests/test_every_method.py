"""Every method refuses a caller it cannot tell, or that it is not for, by the faults that all methods share."""

from typing import Any

import httpx
import pytest
from lxml import etree

from cv_contracts.methods import METHODS, Method
from cv_gateway.messages import messages_of
from cv_gateway.soap.faults import envelope
from cv_gateway.soap.mapping import CITIZEN
from cv_gateway.soap.tables import NAMESPACE
from cv_gateway.soap.testing import caller_blocks
from cv_gateway.soap.writing import write
from cv_gateway.testing import Provider, call_headers
from servicekit.web.upstream_testing import ScriptedOwner, raw

pytestmark = pytest.mark.slow

Start = Any

WRONG: list[tuple[int, dict[str, str | None]]] = [
    (1012, {"authorization": "Bearer x"}),
    (1012, {"authorization": None}),
    (8232, {"x-activeorganisation-type": None}),
    (8233, {"x-requestuser-name": None}),
    (8234, {"x-activeorganisation-type": "jobnet"}),
    (8235, {"x-requestuser-name": "%"}),
    (8173, {"x-activeorganisation-type": "9"}),
    (8174, {"x-requestuser-type": "9"}),
    (4575, {"x-activeorganisation-code": "2"}),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
async def test_every_method_refuses_a_caller_by_the_faults_that_all_share(
    client: httpx.AsyncClient, provider: Provider, method: Method
) -> None:
    token = provider.token(scope=method.scope, organisation={"type": 101, "code": "1"}, may_act_as=[])
    headers = call_headers(token, x_activeorganisation_type="101", x_activeorganisation_code="1")
    for code, changes in WRONG:
        sent = {name: value for name, value in {**headers, **changes}.items() if value is not None}
        answer = await client.request(method.verb, method.path, headers=sent)
        assert answer.json()["code"] == code


@pytest.mark.parametrize(
    "method", [m for m in METHODS if messages_of(m).query is None], ids=lambda method: str(method.name)
)
async def test_a_method_without_query_parameters_refuses_any_as_one_that_has_some_refuses_others(
    start: Start, provider: Provider, registry: ScriptedOwner, method: Method
) -> None:
    token = provider.token(scope=method.scope, organisation={"type": 101, "code": "1"}, may_act_as=[])
    headers = call_headers(token, x_activeorganisation_type="101", x_activeorganisation_code="1")
    other = {**headers, "x-activeorganisation-code": "2"}
    async with start(owners={method.owner: registry.url}) as (_, client):
        target = f"{method.path}?CvCustomerIdentifier=10000001"
        answer = await client.request(method.verb, target, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, 1014)
        (error,) = answer.json()["errors"]
        assert error == {"element": "query", "reason": "is not empty; this method has no query parameters"}
        assert (await client.request(method.verb, target, headers=other)).json()["code"] == 4575
        assert registry.received == []
        assert (await client.request(method.verb, method.path + "?", headers=headers)).status_code == 200


NUMBER = "0303039999"
"""Of the first days of a month, so that it is an integer of 32 bits too."""


@pytest.mark.parametrize(
    ("target", "element"),
    [
        (f"/v6/Cv/versions?CVStatusIdentifier={NUMBER}", "CVStatusIdentifier"),
        (f"/v6/Cv/versions?CVStatusIdentifier=2&citizen={NUMBER}", "query"),
        (f"/v6/Cv/versions?CVStatusIdentifier=2&{NUMBER}", "query"),
        (f"/v6/Cv/versions?CVStatusIdentifier={NUMBER}&CVStatusIdentifier=2", "CVStatusIdentifier"),
        (f"/v6/Cv/versions/onstatus?CVVersionIdentifier={NUMBER}", "CVVersionIdentifier"),
        (f"/v6/Cv/changes?CVChangeStartTime={NUMBER}", "CVChangeStartTime"),
        (f"/v6/Cv/changes?CVChangeStartTime=2026-01-01T00:00:00Z&CVListPage={NUMBER}", "CVListPage"),
        (f"/v1/feed/cv?lastEventId={NUMBER}", "lastEventId"),
        (f"/v1/feed/cv?limit={NUMBER}", "limit"),
        (f"/v1/feed/cv?timeout={NUMBER}", "timeout"),
        (f"/v1/feed/cv?kind=cv-changed,{NUMBER}", "kind"),
        (f"/v1/feed/cv/snapshot?after={NUMBER}", "after"),
        (f"/v1/feed/cv/snapshot?limit={NUMBER}", "limit"),
        (f"/v1/feed/cv/snapshot?lastEventId={NUMBER}", "query"),
    ],
)
async def test_what_no_method_asks_for_never_stands_in_the_url_to_its_owner(
    start: Start, provider: Provider, registry: ScriptedOwner, target: str, element: str
) -> None:
    token = provider.token(organisation={"type": 101, "code": "1"}, may_act_as=[])
    headers = call_headers(token, x_activeorganisation_type="101", x_activeorganisation_code="1")
    async with start(owners={"cv-status": registry.url, "change-feed": registry.url}) as (_, client):
        answer = await client.get(target, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, 1014)
    assert [error["element"] for error in answer.json()["errors"]] == [element]
    assert NUMBER not in answer.text
    assert registry.received == []


PERSON = f"<{CITIZEN}>0101010000</{CITIZEN}>"
START = "<CVChangeStartTime>2026-01-01T00:00:00Z</CVChangeStartTime>"


@pytest.mark.parametrize(
    ("message", "element"),
    [
        (
            f"<GetAvailableCVStatusVersions>{PERSON}<CVStatusIdentifier>{NUMBER}</CVStatusIdentifier></GetAvailableCVStatusVersions>",
            "CVStatusIdentifier",
        ),
        (
            f"<GetAvailableCVStatusVersions>{PERSON}<Citizen>{NUMBER}</Citizen></GetAvailableCVStatusVersions>",
            "body",
        ),
        (
            f"<GetCVOnStatus>{PERSON}<CVVersionIdentifier>{NUMBER}</CVVersionIdentifier></GetCVOnStatus>",
            "CVVersionIdentifier",
        ),
        (
            f"<GetCVUpdateList><CVChangeStartTime>{NUMBER}</CVChangeStartTime></GetCVUpdateList>",
            "CVChangeStartTime",
        ),
        (
            f"<GetCVUpdateList>{START}<CVChangeEndTime>{NUMBER}</CVChangeEndTime></GetCVUpdateList>",
            "CVChangeEndTime",
        ),
        (f"<GetCVUpdateList>{START}<CVListPage>{NUMBER}</CVListPage></GetCVUpdateList>", "CVListPage"),
        (f"<GetCVUpdateList>{START}<CVListPage>1503801234</CVListPage></GetCVUpdateList>", "CVListPage"),
        (f"<GetCVUpdateList>{START}<CVListPage>0</CVListPage></GetCVUpdateList>", "CVListPage"),
    ],
)
async def test_over_soap_too_what_no_method_asks_for_never_stands_in_the_url_to_its_owner(
    start: Start, provider: Provider, registry: ScriptedOwner, message: str, element: str
) -> None:
    body = message.replace(">", f' xmlns="{NAMESPACE}">', 1)
    blocks = "".join(write(name, value) for name, value in caller_blocks(101, "1").items())
    token = provider.token(organisation={"type": 101, "code": "1"}, may_act_as=[])
    headers = {"authorization": f"Bearer {token}", "content-type": "text/xml; charset=utf-8"}
    async with start(owners={"cv-status": registry.url, "change-feed": registry.url}) as (_, client):
        answer = await client.post("/soap/v6", content=envelope(body, blocks), headers=headers)
    told = etree.fromstring(answer.content)
    assert told.findtext(".//{*}ErrorCode") == "1014"
    assert [one.text for one in told.iterfind(".//{*}ElementError/{*}Element")] == [element]
    assert NUMBER not in answer.text
    assert registry.received == []


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
@pytest.mark.slow
async def test_an_owners_answer_that_is_no_http_is_1011_and_1002_for_a_search(
    start: Start, provider: Provider, registry: ScriptedOwner, method: Method
) -> None:
    registry.answering = raw(b"rubbish\r\n\r\n")
    token = provider.token(scope=method.scope, organisation={"type": 101, "code": "1"}, may_act_as=[])
    headers = call_headers(token, x_activeorganisation_type="101", x_activeorganisation_code="1")
    async with start(owners={method.owner: registry.url}) as (_, client):
        answer = await client.request(method.verb, method.path, headers=headers)
    expected = (502, 1002) if method.number == 5 else (503, 1011)
    assert (answer.status_code, answer.json()["code"]) == expected
