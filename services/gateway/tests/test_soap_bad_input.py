"""Whatever is posted as an envelope gets a fault, soon and in little memory, and nothing of it is told or logged."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psutil
import pytest
import structlog
from lxml import etree

from cv_contracts.methods import METHODS
from cv_gateway.soap.door import BIG_AT_ONCE
from cv_gateway.soap.envelope import REMEMBERED, REMEMBERED_BYTES, EnvelopeReader
from cv_gateway.soap.faults import ENVELOPE
from cv_gateway.soap.mapping import CITIZEN
from cv_gateway.soap.tables import NAMESPACE
from cv_gateway.soap.testing import PERSON, call_envelope, caller_blocks
from cv_gateway.testing import Provider
from servicekit.web.upstream_testing import ScriptedOwner

pytestmark = pytest.mark.slow

SECRET = "hemmelig-9876543210"
SOON_SECONDS = 30.0
MOST_BYTES = 300 * 1024 * 1024
GOOD = call_envelope(METHODS[0], {CITIZEN: PERSON}, caller_blocks())
TEXT = GOOD.decode()
BARE = TEXT.partition("?>\n")[2]
MESSAGE = f'<GetCV xmlns="{NAMESPACE}"><{CITIZEN}>{PERSON}</{CITIZEN}></GetCV>'
ROOT = "<soap:Envelope"
NEXT = "http://schemas.xmlsoap.org/soap/actor/next"


def _body(content: str) -> bytes:
    return TEXT.replace(MESSAGE, content).encode()


def _header(block: str) -> bytes:
    return TEXT.replace("<soap:Header>", f"<soap:Header>{block}").encode()


ASCII = BARE.replace("ø", "o")
UNDECLARED = {
    "a good envelope": ASCII,
    "an entity": ASCII.replace(ROOT, f'<!DOCTYPE x [<!ENTITY e "{SECRET}">]>{ROOT}').replace(PERSON, "&e;"),
    "an external entity": ASCII.replace(
        ROOT, f'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>{ROOT}'
    ).replace(PERSON, "&e;"),
}
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 20))
BAD: dict[str, tuple[bytes, str]] = {
    "an entity bomb": (
        TEXT.replace(ROOT, f'<!DOCTYPE x [<!ENTITY l0 "{SECRET}">{LAUGHS}]>{ROOT}')
        .replace(PERSON, "&l19;")
        .encode(),
        "Client",
    ),
    "an entity bomb in an attribute": (
        TEXT.replace(ROOT, f'<!DOCTYPE x [<!ENTITY l0 "x">{LAUGHS}]>{ROOT} a="&l19;"', 1).encode(),
        "Client",
    ),
    "an external entity": (
        TEXT.replace(ROOT, f'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>{ROOT}')
        .replace(PERSON, "&e;")
        .encode(),
        "Client",
    ),
    "an external DTD after a comment": (
        TEXT.replace(ROOT, f'<!-- a --><?a?><!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">{ROOT}').encode(),
        "Client",
    ),
    "an entity after a comment that seems to end as it begins": (
        TEXT.replace(ROOT, f'<!--><a --><!DOCTYPE x [<!ENTITY e "{PERSON}">]>{ROOT}')
        .replace(f">{PERSON}<", ">&e;<")
        .encode(),
        "Client",
    ),
    "an entity that nobody declared": (_body(f"<GetCV>&{SECRET};</GetCV>"), "Client"),
    "deep nesting": (_body("<a>" * 100_000 + "</a>" * 100_000), "Client"),
    "very many elements": (_body(f'<GetCV xmlns="{NAMESPACE}">' + "<a/>" * 400_000 + "</GetCV>"), "Client"),
    "very many attributes": (
        _body("<GetCV " + " ".join(f'a{n}="1"' for n in range(100_000)) + "/>"),
        "Client",
    ),
    "very many phone numbers that are none": (
        TEXT.replace(
            MESSAGE,
            f'<ReplaceCV xmlns="{NAMESPACE}"><{CITIZEN}>{PERSON}</{CITIZEN}><ContactInformation>'
            + f"<PhoneNumber>{SECRET}</PhoneNumber>" * 40_000
            + "</ContactInformation></ReplaceCV>",
        ).encode(),
        "Client",
    ),
    "another encoding than the one declared": (TEXT.replace("Test", "Tést").encode("latin-1"), "Client"),
    "an encoding that is not UTF-8": (TEXT.replace("UTF-8", "ISO-8859-1").encode("latin-1"), "Client"),
    "an encoding that nobody knows": (TEXT.replace("UTF-8", SECRET).encode(), "Client"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "Client"),
    "UTF-16": (TEXT.replace("UTF-8", "UTF-16").encode("utf-16"), "Client"),
    "UTF-16 without a byte order mark": (TEXT.replace("UTF-8", "UTF-16").encode("utf-16-le"), "Client"),
    "UTF-32": (TEXT.encode("utf-32"), "Client"),
    **{
        f"{name} in {encoding}, undeclared": (f'<?xml version="1.0"?>{text}'.encode(encoding), "Client")
        for name, text in UNDECLARED.items()
        for encoding in WIDE
    },
    "UTF-7": (b"+ADw-" + GOOD, "Client"),
    "a null character": (GOOD.replace(b"GetCV>", b"GetCV>\x00", 1), "Client"),
    "a truncated envelope": (GOOD[: len(GOOD) // 2], "Client"),
    "nothing": (b"", "Client"),
    "no XML": (f'{{"{SECRET}": 1}}'.encode(), "Client"),
    "something after the envelope": (GOOD + b"<more/>", "Client"),
    "two bodies": (
        TEXT.replace("</soap:Envelope>", f"<soap:Body>{MESSAGE}</soap:Body></soap:Envelope>").encode(),
        "Client",
    ),
    "a body wrapped in the header": (
        TEXT.replace("<soap:Header>", f"<soap:Header><w><soap:Body>{MESSAGE}</soap:Body></w>")
        .replace(f"</soap:Header><soap:Body>{MESSAGE}</soap:Body>", "</soap:Header>")
        .encode(),
        "Client",
    ),
    "a message wrapped in another element": (_body(f"<w>{MESSAGE}</w>"), "Client"),
    "two messages": (_body(MESSAGE * 2), "Client"),
    "no message": (_body(""), "Client"),
    "a message of another namespace": (_body(MESSAGE.replace(NAMESPACE, "urn:other")), "Client"),
    "a method that there is none of": (_body(f'<{SECRET} xmlns="{NAMESPACE}"/>'), "Client"),
    "an answer in place of a call": (_body(f'<GetCVResponse xmlns="{NAMESPACE}"/>'), "Client"),
    "a type of one's own": (
        _body(
            MESSAGE.replace(
                "<GetCV ", '<GetCV xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="CVType" '
            )
        ),
        "Client",
    ),
    "nil": (
        _body(
            f'<GetCV xmlns="{NAMESPACE}"><{CITIZEN} xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/></GetCV>'
        ),
        "Client",
    ),
    "a header that must be understood": (
        _header(f'<S xmlns="urn:s" soap:mustUnderstand="1">{SECRET}</S>'),
        "MustUnderstand",
    ),
    "a header that whoever is next must understand": (
        _header(f'<S xmlns="urn:s" soap:mustUnderstand="1" soap:actor="{NEXT}">{SECRET}</S>'),
        "MustUnderstand",
    ),
    "a signature that must be understood": (
        _header(
            '<Security xmlns="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" '
            'soap:mustUnderstand="1"/>'
        ),
        "MustUnderstand",
    ),
    "SOAP 1.2": (
        TEXT.replace(ENVELOPE, "http://www.w3.org/2003/05/soap-envelope").encode(),
        "VersionMismatch",
    ),
    "an envelope of nobody": (BARE.replace(ENVELOPE, "urn:x").encode(), "VersionMismatch"),
    "the message alone": (MESSAGE.encode(), "Client"),
}


@pytest.fixture
async def gateway(start: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with start() as (_, client):
        yield client


def _headers(provider: Provider, media: str = "text/xml; charset=utf-8") -> dict[str, str]:
    return {"authorization": f"Bearer {provider.token()}", "content-type": media}


def _judge(answer: httpx.Response, faultcode: str, code: str = "1014") -> None:
    assert answer.status_code == 500
    fault = etree.fromstring(answer.content).find(f"{{{ENVELOPE}}}Body/{{{ENVELOPE}}}Fault")
    assert fault.findtext("faultcode") == f"soap:{faultcode}"
    assert fault.findtext(f".//{{{NAMESPACE}}}ErrorCode") == code
    assert SECRET not in answer.text
    assert PERSON not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("name", BAD)
@pytest.mark.slow
async def test_bad_input_is_a_fault_and_nothing_of_it_is_told_or_logged(
    gateway: httpx.AsyncClient,
    provider: Provider,
    registry: ScriptedOwner,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    content, faultcode = BAD[name]
    gc.collect()
    before = psutil.Process().memory_info().rss
    begun = time.perf_counter()
    with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as told:
        answer = await gateway.post("/soap/v6", content=content, headers=_headers(provider))
    assert time.perf_counter() - begun < SOON_SECONDS
    assert psutil.Process().memory_info().rss - before < MOST_BYTES
    _judge(answer, faultcode)
    assert registry.received == []
    assert told == []
    assert SECRET not in caplog.text
    good = await gateway.post("/soap/v6", content=GOOD, headers=_headers(provider))
    assert b"1011" in good.content  # The owner's {} is no answer of GetCV; the call went through.
    assert len(registry.received) == 1


@pytest.mark.slow
async def test_fifty_megabytes_are_refused_before_they_are_read(
    gateway: httpx.AsyncClient, provider: Provider
) -> None:
    before = psutil.Process().memory_info().rss
    headers = _headers(provider) | {"host": "x", "content-length": "50000000", "connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader, writer = await asyncio.open_connection(gateway.base_url.host, gateway.base_url.port)
    writer.write(f"POST /soap/v6 HTTP/1.1\r\n{head}\r\n".encode() + GOOD + b" " * 1_000_000)
    answer = await asyncio.wait_for(reader.read(), SOON_SECONDS)
    writer.close()
    top, _, content = answer.partition(b"\r\n\r\n")
    _judge(httpx.Response(int(top.split()[1]), content=content), "Client", "413")
    assert psutil.Process().memory_info().rss - before < 50_000_000


@pytest.mark.parametrize(
    "media",
    [
        "text/xml; charset=iso-8859-1",
        "text/plain",
        "application/json",
        'multipart/related; type="application/xop+xml"',
    ],
)
async def test_other_media_and_encodings_are_refused_by_their_name(
    gateway: httpx.AsyncClient, provider: Provider, media: str
) -> None:
    _judge(await gateway.post("/soap/v6", content=GOOD, headers=_headers(provider, media)), "Client")


async def test_headers_for_others_and_those_that_need_not_be_understood_harm_nobody(
    gateway: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    other = '<S xmlns="urn:s" soap:mustUnderstand="1" soap:actor="urn:somebody"/><T xmlns="urn:t"/>'
    good = TEXT.replace("<soap:Header>", f"<soap:Header>{other}").replace(
        "<ActiveOrganisationHeader ",
        f'<ActiveOrganisationHeader soap:mustUnderstand="1" soap:actor="{NEXT}" ',
    )
    await gateway.post("/soap/v6", content=good.encode(), headers=_headers(provider))
    assert len(registry.received) == 1


async def test_others_are_served_while_a_big_envelope_is_read(
    gateway: httpx.AsyncClient, provider: Provider
) -> None:
    content, faultcode = BAD["very many elements"]
    big = asyncio.create_task(gateway.post("/soap/v6", content=content, headers=_headers(provider)))
    served = 0
    while not big.done():
        assert (await gateway.get("/health/live")).status_code == 200
        served += 1
    _judge(await big, faultcode)
    assert served > 5


@pytest.mark.slow
async def test_more_big_envelopes_than_may_wait_are_turned_away_and_small_ones_are_not(
    gateway: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    content, _ = BAD["very many attributes"]
    headers = _headers(provider)
    big = [gateway.post("/soap/v6", content=content, headers=headers) for _ in range(3 * BIG_AT_ONCE)]
    small = [gateway.post("/soap/v6", content=GOOD, headers=headers) for _ in range(5)]
    answers = await asyncio.gather(*big, *small)
    codes = [etree.fromstring(answer.content).findtext(f".//{{{NAMESPACE}}}ErrorCode") for answer in answers]
    assert {"1014"} <= set(codes[: len(big)]) <= {"1014", "1011"}
    assert all("retry-after" in answers[n].headers for n in range(len(big)) if codes[n] == "1011")
    assert len(registry.received) == len(small)


def test_headers_are_remembered_only_while_they_are_short_and_few() -> None:
    reader = EnvelopeReader()
    for n in range(REMEMBERED + 10):
        reader.read(_header(f'<T xmlns="urn:t">{n}</T>'))
    assert len(reader._headers) == REMEMBERED
    other = EnvelopeReader()
    other.read(_header(f'<T xmlns="urn:t">{"x" * REMEMBERED_BYTES}</T>'))
    assert len(other._headers) == 0
