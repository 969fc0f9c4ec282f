"""Who reaches whom in the rendered chart: Services by which to call, NetworkPolicies that say who may."""

import re
from pathlib import Path

import pytest
from tests.deploy import test_chart
from tests.deploy.test_chart import GIVEN, VALUES, Document, container, of_kind, rendered

pytestmark = test_chart.pytestmark

PRODUCTION = Path(__file__).parents[2] / "docs/production.md"


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return rendered()


def test_operators_reach_instances_that_are_not_ready_by_the_addresses_that_they_are_told_to_use(
    documents: list[Document],
) -> None:
    """What callers use has no address while no instance is ready, and that is when an operator must look and repair."""
    (named,) = re.findall(r"^\| `CVHUB_SERVICES` \|.*$", PRODUCTION.read_text(), re.MULTILINE)
    told = re.findall(r'"([\w-]+)": "http://([\w-]+):(\d+)"', named)
    assert {host.removeprefix(name) for name, host, _ in told} == {"-instances"}
    services = of_kind(documents, "Service")
    for name, _, port in told:
        assert services[f"{name}-instances"]["spec"]["ports"][0]["port"] == int(port)
    for name, workload in of_kind(documents, "Deployment").items():
        callers, operators = services[name]["spec"], services[f"{name}-instances"]["spec"]
        assert operators["publishNotReadyAddresses"] is True
        assert "publishNotReadyAddresses" not in callers
        # Without an address of its own its name is the pods' addresses: one that refuses is passed over, and ports are the pods'.
        assert operators["clusterIP"] == "None"
        assert operators["selector"] == callers["selector"]
        assert operators["ports"][0]["port"] == container(workload)["ports"][0]["containerPort"]


def _peers(policy: Document) -> set[str]:
    (rule,) = policy["spec"]["ingress"]
    labels = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    return {one.get("app.kubernetes.io/name") or one["cvhub/role"] for one in labels}


def test_only_callers_and_operators_reach_a_service(documents: list[Document]) -> None:
    policies = of_kind(documents, "NetworkPolicy")
    for name, policy in policies.items():
        if name != "gateway":
            callers = {one for one, its in VALUES["services"].items() if name in its["calls"].values()}
            outside = {"citizen-intake", "jobnet-login"} if name == "cv-registry" else set()
            assert _peers(policy) == callers | outside | {"operator"}
    operator = {"podSelector": {"matchLabels": {"cvhub/role": "operator"}}}
    assert policies["gateway"]["spec"]["ingress"][0]["from"] == [*GIVEN["network"]["ingress"], operator]
    for policy in of_kind(rendered({**GIVEN, "network": {}}), "NetworkPolicy").values():
        (rule,) = policy["spec"]["ingress"]
        assert ("from" in rule) is (policy["metadata"]["name"] != "gateway"), "anyone may call the gateway"
