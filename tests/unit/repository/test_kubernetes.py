"""The manifests for Kubernetes: valid, consistent, and true to the worker and its image."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from idalloc_worker._vitals import START_WITHIN
from idalloc_worker.metrics._app import _PROBES
from idalloc_worker.process._supervisor import _KILL_AFTER
from idalloc_worker.settings._settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy/kubernetes"
CUSTOM = {"ServiceMonitor"}  # of the Prometheus Operator, which publishes no package of schemas


def kustomization() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    return parsed


MANIFESTS: dict[str, dict[str, Any]] = {
    parsed["kind"]: parsed
    for name in kustomization()["resources"]
    for parsed in [yaml.safe_load((FOLDER / name).read_text())]
}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
(WORKER,) = POD["containers"]
LABELS = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("kind", sorted(MANIFESTS.keys() - CUSTOM))
@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_each_is_valid(kind: str, version: str) -> None:
    """By the schemas that Kubernetes publishes; no field is unknown."""
    why = "pip install -e '.[manifests]' brings Kubernetes's schemas"
    validator = pytest.importorskip("kubernetes_validate", reason=why)
    validator.validate(MANIFESTS[kind], version, strict=True)


def test_every_manifest_is_used() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert files == {"kustomization.yaml", *kustomization()["resources"]}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_them() -> None:
    """With the label by which the alerts' job is named."""
    done = subprocess.run(
        ["kubectl", "kustomize", FOLDER], capture_output=True, text=True, timeout=60, check=True
    )
    built = {it["kind"]: it for it in yaml.safe_load_all(done.stdout)}
    assert built.keys() == MANIFESTS.keys()
    monitor = MANIFESTS["ServiceMonitor"]["spec"]
    assert built["Service"]["metadata"]["labels"][monitor["jobLabel"]] == "idalloc"


def test_each_selects_the_workers() -> None:
    """Disruption budget, network policy, service and monitor are about the same pods."""
    specs = {kind: it["spec"] for kind, it in MANIFESTS.items()}
    assert specs["Deployment"]["selector"]["matchLabels"] == LABELS
    assert specs["PodDisruptionBudget"]["selector"]["matchLabels"] == LABELS
    assert specs["NetworkPolicy"]["podSelector"]["matchLabels"] == LABELS
    assert specs["Service"]["selector"] == LABELS
    assert specs["ServiceMonitor"]["selector"]["matchLabels"] == LABELS
    assert MANIFESTS["Service"]["metadata"]["labels"] == LABELS
    assert specs["PodDisruptionBudget"]["minAvailable"] < specs["Deployment"]["replicas"]


def test_the_settings_are_settings() -> None:
    """Each is known and has a value that the worker takes; what is secret stands in a Secret."""
    given = {it["name"]: it for it in WORKER["env"]}
    names = {"IDALLOC_" + name.upper() for name in Settings.model_fields}
    assert given.keys() <= names
    load_settings(None, {}, {name: it["value"] for name, it in given.items() if "value" in it})
    secret = {name for name, it in given.items() if "secretKeyRef" in it.get("valueFrom", {})}
    assert secret == {"IDALLOC_AMQP_URL", "IDALLOC_MYSQL_URL"}
    assert not [path for path in FOLDER.iterdir() if "://" in path.read_text().split("tcp://")[0]]
    assert POD["enableServiceLinks"] is False


def test_ports_and_paths_are_those_of_the_worker() -> None:
    """Probes, service, monitor and policy name the port that the worker opens."""
    (port,) = WORKER["ports"]
    environment = {it["name"]: it.get("value") for it in WORKER["env"]}
    assert str(port["containerPort"]) == environment["IDALLOC_METRICS_PORT"]
    assert environment["IDALLOC_METRICS_HOST"] == "0.0.0.0"
    probes = {name: WORKER[name]["httpGet"] for name in WORKER if name.endswith("Probe")}
    assert {it["port"] for it in probes.values()} == {port["name"]}
    paths = {name: it["path"] for name, it in probes.items()}
    assert paths == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert set(paths.values()) == set(_PROBES)
    ((exposed,), (monitored,)) = (
        MANIFESTS["Service"]["spec"]["ports"],
        MANIFESTS["ServiceMonitor"]["spec"]["endpoints"],
    )
    assert exposed["targetPort"] == port["name"]
    assert monitored["port"] == exposed["name"]
    policy = MANIFESTS["NetworkPolicy"]["spec"]
    assert [it["port"] for it in policy["ingress"][0]["ports"]] == [port["name"]]
    assert {5671, 5672, 3306} == {it["port"] for it in policy["egress"][0]["ports"]}


def test_a_pod_has_the_time_that_it_needs() -> None:
    """To start on a busy node, and to drain."""
    grace = POD["terminationGracePeriodSeconds"]
    assert grace > Settings().drain_timeout + _KILL_AFTER
    start = WORKER["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] > START_WITHIN


def test_it_runs_as_the_image_does_and_may_nothing() -> None:
    """Not as root, on a file system that is read-only, without a token for Kubernetes' API."""
    (user,) = re.findall(r"^USER (\d+):", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert POD["securityContext"]["runAsUser"] == int(user)
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    assert WORKER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
