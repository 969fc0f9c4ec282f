"""The chart, rendered by Helm's own engine, against the schemas of Kubernetes and its operators, and against the code."""

import json
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from platform import machine
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from pydantic_settings import BaseSettings
from tests.deploy.test_compose import has_setting

from cv_contracts import asyncapi
from cv_contracts.kafka_rights import acls, principals
from cv_contracts.methods import METHODS
from cv_contracts.topics import SERVICES, TOPICS
from servicekit.follow.follower import group_of

if TYPE_CHECKING or sys.platform == "darwin" or machine() == "x86_64":
    import helm_python as helm

pytestmark = pytest.mark.skipif(
    sys.platform != "darwin" and machine() != "x86_64", reason="there is no wheel of Helm's engine"
)

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/chart"
DATA = Path(__file__).parent / "data"
CITIZENS = "cv-registry.citizen-changed"
KUBERNETES: dict[str, Any] = json.loads((DATA / "kubernetes.json").read_text())
CUSTOM: dict[str, Any] = json.loads((DATA / "custom_resources.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
GATEWAY_ENV = {"TOKEN__ISSUER": "https://login.example.com", "TOKEN__JWKS_URL": "https://login.example.com/k"}
GIVEN: dict[str, Any] = {
    "image": {"repository": "images.example.com/cvhub", "tag": "1.2.3"},
    "telemetry": {"endpoint": "http://collector:4318"},
    "codeLists": {"configMap": "lists"},
    "alerts": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True},
    "network": {"ingress": [{"namespaceSelector": {}}]},
    "services": {"gateway": {"env": GATEWAY_ENV}},
}
KUBERNETES_KINDS = {
    kind: f"#/$defs/io.k8s.api.{group}.{kind}"
    for kind, group in {
        "Deployment": "apps.v1",
        "Service": "core.v1",
        "ConfigMap": "core.v1",
        "PodDisruptionBudget": "policy.v1",
        "NetworkPolicy": "networking.v1",
        "Job": "batch.v1",
    }.items()
}

Document = dict[str, Any]


def rendered(given: Mapping[str, Any] = GIVEN) -> list[Document]:
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(dict(given), name="cvhub", namespace="prod").values()
        return [one for text in texts for one in yaml.safe_load_all(text) if one]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return rendered()


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == kind}


def container(workload: Document) -> dict[str, Any]:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def settings_of(service: str) -> type[BaseSettings]:
    (path,) = ROOT.glob(f"services/{service}/src/*/settings.py")
    settings: type[BaseSettings] = import_module(f"{path.parent.name}.settings").Settings
    return settings


def test_helm_finds_nothing_to_complain_about() -> None:
    result = helm.lint(CHART, GIVEN, strict=True)
    assert result["errors"] == []
    assert [m["error"] for m in result["messages"] if m["severity"] > 1] == []


def test_every_object_is_valid_by_the_schema_of_its_kind(documents: list[Document]) -> None:
    for one in documents:
        kind = one["kind"]
        schema = CUSTOM.get(kind) or {**KUBERNETES, "$ref": KUBERNETES_KINDS[kind]}
        jsonschema.Draft7Validator(schema).validate(one)
    assert len({(one["kind"], one["metadata"]["name"]) for one in documents}) == len(documents)


def test_the_schemas_notice_what_is_misspelled(documents: list[Document]) -> None:
    deployment = json.loads(json.dumps(of_kind(documents, "Deployment")["gateway"]))
    container(deployment)["readynessProbe"] = {}
    schema = {**KUBERNETES, "$ref": KUBERNETES_KINDS["Deployment"]}
    with pytest.raises(jsonschema.ValidationError, match="readynessProbe"):
        jsonschema.Draft7Validator(schema).validate(deployment)


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": {"repository": "images.example.com", "tag": "latest"}},
        {"image": {"tag": "1.2.3"}},
        {"kafka": {"securityProtocol": "PLAINTEXT"}},
        {"services": {"gateway": {"replicas": 0}}},
        {"services": {"gateway": {"replica": 2}}},
        # A topic has no more partitions; and KEDA is not told to have fewer instances at most than at least.
        {"defaults": {"replicas": 7}},
        {"services": {"cv-registry": {"replicas": 7}}},
        {"services": {"cv-status": {"replicas": 3, "maxReplicas": 2}}},
        {"services": {"gateway": {"env": {"token__issuer": "x"}}}},
        {"telemetry": {"sampleRatio": 2}},
        {"telemtry": {}},
        {"image": {"repository": "images.example.com", "tag": "1.2.3+build"}},
        {"defaults": {"replicas": 2, "maxReplicas": 6, "resources": {"limit": {"memory": "1Gi"}}}},
        {"services": {"gateway": {"resources": {"requests": {"memry": "1Gi"}}}}},
        # What Kubernetes does not know it leaves out, and what is left of such a rule lets everything through.
        {"services": {"gateway": {"egress": [{"port": [{"port": 443}]}]}}},
        {"services": {"gateway": {"egress": [{}]}}},
        {"services": {"gateway": {"egress": [{"ports": [{"prt": 443}]}]}}},
        {"services": {"cv-registry": {"ingress": [{"podSelectr": {}}]}}},
        {"network": {"ingress": [{"namespaceSelecter": {}}]}},
        # Only network.ingress says who may call the gateway.
        {"services": {"gateway": {"ingress": [{"podSelector": {}}]}}},
        {"network": {"postgres": {"ports": [5432], "to": [{}]}}},
    ],
    ids=str,
)
def test_values_that_cannot_be_right_are_refused(wrong: dict[str, Any]) -> None:
    with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmError):
        chart.render({**GIVEN, **wrong}, name="cvhub", namespace="prod")


def test_where_nothing_scales_an_owner_may_have_more_instances_than_a_topic_has_partitions() -> None:
    many: dict[str, Any] = {**GIVEN, "services": {"gateway": {"replicas": 9, "env": GATEWAY_ENV}}}
    assert of_kind(rendered(many), "Deployment")["gateway"]["spec"]["replicas"] == 9
    many["services"]["cv-registry"] = {"replicas": 9}
    unscaled = rendered({**many, "keda": {"enabled": False}})
    assert of_kind(unscaled, "Deployment")["cv-registry"]["spec"]["replicas"] == 9


def test_a_large_number_is_written_in_digits() -> None:
    """Helm reads numbers as floating point, and would write 1e+06, which no setting takes."""
    given = {
        "keda": {"lagThreshold": 1_000_000},
        "services": {"gateway": {"env": {"HTTP__BODY_LIMIT": 20_000_000, **GATEWAY_ENV}}},
    }
    documents = rendered({**GIVEN, **given})
    assert {"name": "HTTP__BODY_LIMIT", "value": "20000000"} in container(
        of_kind(documents, "Deployment")["gateway"]
    )["env"]
    _, by_lag = of_kind(documents, "ScaledObject")["cv-status"]["spec"]["triggers"]
    assert by_lag["metadata"]["lagThreshold"] == "1000000"


def test_the_authority_of_kafka_is_mounted_only_where_the_connection_is_protected(
    documents: list[Document],
) -> None:
    def mounts(given: list[Document]) -> set[str]:
        pods = [one["spec"]["template"]["spec"] for one in of_kind(given, "Deployment").values()]
        return {v["secret"]["secretName"] for pod in pods for v in pod["volumes"] if v["name"] == "kafka-ca"}

    assert mounts(documents) == {"cvhub-cluster-ca-cert"}
    plain = rendered({**GIVEN, "kafka": {"securityProtocol": "SASL_PLAINTEXT"}})
    assert mounts(plain) == set()
    assert "kafka-ca" not in json.dumps(plain)


def test_every_service_of_the_contracts_is_deployed(documents: list[Document]) -> None:
    for kind in ("Deployment", "PodDisruptionBudget", "NetworkPolicy"):
        assert set(of_kind(documents, kind)) == set(SERVICES)
    assert set(of_kind(documents, "Service")) == {*SERVICES, *(f"{name}-instances" for name in SERVICES)}


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_and_every_needed_setting_has_one(
    documents: list[Document], service: str
) -> None:
    settings = settings_of(service)
    given = [one["name"] for one in container(of_kind(documents, "Deployment")[service])["env"]]
    assert len(set(given)) == len(given)
    assert [variable for variable in given if not has_setting(settings, variable)] == []
    needed = {name for name, field in settings.model_fields.items() if field.is_required()}
    assert needed <= {variable.lower().partition("__")[0] for variable in given}


def test_whoever_reads_code_lists_is_given_those_of_the_installation(documents: list[Document]) -> None:
    readers = {service for service in SERVICES if "code_lists" in settings_of(service).model_fields}
    for given, expected in (
        (documents, readers),
        (rendered({**GIVEN, "codeLists": {"configMap": ""}}), set()),
    ):
        pods = {name: container(one) for name, one in of_kind(given, "Deployment").items()}
        told = {
            name for name, pod in pods.items() if {"name": "CODE_LISTS", "value": "/code-lists"} in pod["env"]
        }
        mounted = {
            name
            for name, pod in pods.items()
            if "/code-lists" in {m["mountPath"] for m in pod["volumeMounts"]}
        }
        assert told == mounted == expected


def test_whoever_connects_protected_finds_the_certificates_of_the_installation(
    documents: list[Document],
) -> None:
    """Migrations too: a database that is to be verified needs the file that its DSN names."""
    assert not any("certificates" in json.dumps(one) for one in documents)
    given = rendered({**GIVEN, "certificates": {"configMap": "ours"}})
    pods = [one["spec"]["template"]["spec"] for one in _workloads(given)]
    assert len(pods) == len(list(_workloads(documents)))
    for pod in pods:
        assert {"name": "certificates", "configMap": {"name": "ours"}} in pod["volumes"]
        mount = {"name": "certificates", "mountPath": "/certificates", "readOnly": True}
        assert mount in pod["containers"][0]["volumeMounts"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_where_all_others_are_that_it_asks(service: str) -> None:
    ports = {its["port"]: name for name, its in VALUES["services"].items()}
    defaults = {
        name.upper(): ports[int(str(field.default).rpartition(":")[2])]
        for name, field in settings_of(service).model_fields.items()
        if name.endswith("_url") and str(field.default).startswith("http://127.0.0.1:")
    }
    calls = VALUES["services"][service]["calls"]
    assert defaults.items() <= calls.items()
    assert VALUES["services"][service]["port"] == settings_of(service).model_fields["http"].default.port


def test_the_gateway_knows_the_owner_of_every_method() -> None:
    assert set(VALUES["services"]["gateway"]["calls"].values()) == {method.owner for method in METHODS}


def test_what_a_service_follows_is_what_the_contracts_say() -> None:
    for name, service in VALUES["services"].items():
        followed = sorted(topic.name for topic in TOPICS if name in topic.followers)
        # The feed reads everything public by itself, one instance at a time; its replica of the citizens is like any other.
        wanted = [CITIZENS] if name == "change-feed" else followed
        assert sorted(service["follows"].values()) == wanted


def test_every_follower_is_scaled_by_the_lag_of_each_of_its_groups(documents: list[Document]) -> None:
    scaled = of_kind(documents, "ScaledObject")
    assert set(scaled) == {name for name, its in VALUES["services"].items() if its["follows"]}
    for name, one in scaled.items():
        triggers = [t["metadata"] for t in one["spec"]["triggers"] if t["type"] == "kafka"]
        follows = VALUES["services"][name]["follows"]
        assert {(t["consumerGroup"], t["topic"]) for t in triggers} == {
            (f"{name}.{projection}", topic) for projection, topic in follows.items()
        }
        # KEDA 2.17 refuses a fallback where no trigger says that it is of this type, which is the default.
        assert all(t["metricType"] == "AverageValue" for t in one["spec"]["triggers"] if t["type"] == "kafka")
        assert one["spec"]["maxReplicaCount"] <= min(topic.partitions for topic in TOPICS)
        assert "replicas" not in of_kind(documents, "Deployment")[name]["spec"]


def test_every_group_of_a_follower_is_one_that_the_document_of_the_events_names() -> None:
    operations = asyncapi.document()["operations"]
    for name, service in VALUES["services"].items():
        for projection, topic in service["follows"].items():
            kafka = operations[f"{name}.receive.{topic}"]["bindings"]["kafka"]
            jsonschema.validate(group_of(name, projection), kafka["groupId"])


def _workloads(documents: list[Document]) -> Iterator[Document]:
    yield from of_kind(documents, "Deployment").values()
    yield from of_kind(documents, "Job").values()


def test_no_pod_is_root_writes_to_its_image_or_holds_a_capability(documents: list[Document]) -> None:
    for workload in _workloads(documents):
        pod, one = workload["spec"]["template"]["spec"], container(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["resources"]["limits"]["memory"]
        assert not one["image"].endswith(":latest")


def test_documents_that_take_all_they_may_end_their_workers_and_not_the_service(
    documents: list[Document],
) -> None:
    limit = container(of_kind(documents, "Deployment")["pdf-renderer"])["resources"]["limits"]["memory"]
    workers = settings_of("pdf-renderer").model_fields["workers"].default
    assert limit.endswith("Mi")
    assert int(limit.removesuffix("Mi")) >= workers.processes * workers.memory_mb + 512


def test_secrets_stand_in_no_manifest(documents: list[Document]) -> None:
    for workload in _workloads(documents):
        for variable in container(workload)["env"]:
            secret = any(word in variable["name"] for word in ("SECRET", "DSN", "TOKEN", "KEYS", "PASSWORD"))
            known = variable["name"].startswith("TOKEN__") or variable["name"].endswith("_FILE")
            assert not secret or known or "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_liveness_asks_nobody_and_a_pod_has_time_to_finish(documents: list[Document]) -> None:
    for name, workload in of_kind(documents, "Deployment").items():
        one = container(workload)
        assert one["livenessProbe"]["httpGet"]["path"] == "/health/live"
        assert one["readinessProbe"]["httpGet"]["path"] == "/health/ready"
        http = settings_of(name).model_fields["http"].default
        needed = (
            one["lifecycle"]["preStop"]["sleep"]["seconds"] + (http.grace + http.drain_idle).total_seconds()
        )
        assert workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed + 5


def test_migrations_run_before_each_release_and_wait_for_nothing_that_it_makes(
    documents: list[Document],
) -> None:
    jobs = of_kind(documents, "Job")
    assert set(jobs) == {f"{name}-migrate" for name, its in VALUES["services"].items() if its["database"]}
    for job in jobs.values():
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert container(job)["args"] == ["migrate"]
        volumes = job["spec"]["template"]["spec"]["volumes"]
        assert {v["name"] for v in volumes} <= {"tmp", "identity", "trusted", "code-lists", "folder"}


def test_topics_and_rights_are_those_of_the_contracts(documents: list[Document]) -> None:
    topics = of_kind(documents, "KafkaTopic")
    assert set(topics) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        spec = topics[topic.name]["spec"]
        assert spec["partitions"] == topic.partitions
        assert spec["config"] == {**topic.config, "min.insync.replicas": "2"}
    users = of_kind(documents, "KafkaUser")
    assert set(users) == set(principals())
    for name, user in users.items():
        assert user["spec"]["authorization"]["acls"] == [acl.manifest for acl in acls(name)]


def test_the_alerts_and_dashboards_that_are_installed_are_the_files(documents: list[Document]) -> None:
    rule = of_kind(documents, "PrometheusRule")["cvhub"]["spec"]
    assert rule == yaml.safe_load((CHART / "files/alerts.yaml").read_text())
    dashboards = of_kind(documents, "ConfigMap")["cvhub-dashboards"]["data"]
    assert {name: json.loads(text) for name, text in dashboards.items()} == {
        path.name: json.loads(path.read_text()) for path in (CHART / "files/dashboards").glob("*.json")
    }


def test_without_the_operators_the_chart_makes_none_of_their_objects() -> None:
    plain = rendered({**GIVEN, "strimzi": {"enabled": False}, "keda": {"enabled": False}, "alerts": {}})
    assert {one["apiVersion"] for one in plain} == {
        "v1",
        "apps/v1",
        "policy/v1",
        "batch/v1",
        "networking.k8s.io/v1",
    }
    assert all(one["spec"]["replicas"] == 2 for one in of_kind(plain, "Deployment").values())
