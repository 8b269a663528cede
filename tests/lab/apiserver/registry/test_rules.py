"""What is invalid in objects of built-in kinds, and which fields the errors name."""

from __future__ import annotations

from typing import Any

import pytest

from lab.apiserver.kinds.resources import Resource, builtin_catalog
from lab.apiserver.registry import rules
from lab.apiserver.registry.admission import parse
from lab.apiserver.types.decode import DecodeError
from tests.support.lab.apiserver_process import deployment

CATALOG = builtin_catalog()
EVENTS = "events.k8s.io"
UPDATE = "spec.strategy.rollingUpdate"
NEWER: dict[str, Any] = {
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingController": "a.example/b",
    "reportingInstance": "one",
    "action": "Shift",
    "reason": "R",
    "type": "Normal",
    "note": "n",
    "regarding": {"kind": "Pod", "name": "p", "namespace": "ns"},
}


def read(group: str, plural: str, body: dict[str, Any]) -> tuple[Resource, Any]:
    resource = CATALOG.find(group, "v1", plural)
    assert resource is not None
    document, _ = parse(resource, {"metadata": {"name": "x", "namespace": "ns"}, **body})
    return resource, document


def errors(
    group: str, plural: str, new: dict[str, Any], old: dict[str, Any] | None = None
) -> list[tuple[str, str]]:
    """The path and the text of each error, in order of the paths."""
    resource, document = read(group, plural, new)
    before = None if old is None else read(group, plural, old)[1]
    kind = f"{resource.kind}.{group}" if group == EVENTS else resource.kind
    found = rules.object_errors(kind, resource.schema, document, before)
    return sorted((error.path, error.body()) for error in found)


def paths(group: str, plural: str, new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    return [path for path, _ in errors(group, plural, new, old)]


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"leaseDurationSeconds": 0}, ["spec.leaseDurationSeconds"]),
        ({"leaseTransitions": -1}, ["spec.leaseTransitions"]),
        ({"strategy": "Youngest"}, ["spec.strategy.strategy"]),
        ({"strategy": "a.example/Youngest", "preferredHolder": "x"}, []),
        ({"preferredHolder": "x"}, ["spec.preferredHolder"]),
        ({"leaseDurationSeconds": 60, "renewTime": "2026-01-01T00:00:00.000000Z"}, []),
    ],
)
def test_leases(spec: dict[str, Any], wrong: list[str]) -> None:
    assert paths("coordination.k8s.io", "leases", {"spec": spec}) == wrong


@pytest.mark.parametrize(
    "text", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000000", "x"]
)
def test_precise_times_have_six_digits_and_a_zone(text: str) -> None:
    with pytest.raises(DecodeError):
        read("coordination.k8s.io", "leases", {"spec": {"renewTime": text}})


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, []),
        ({"eventTime": None}, ["eventTime"]),
        ({"type": "Odd"}, ["type"]),
        ({"reportingController": ""}, ["reportingController", "reportingController"]),
        ({"reportingInstance": "x" * 129}, ["reportingInstance"]),
        ({"action": "", "reason": ""}, ["action", "reason"]),
        ({"note": "x" * 1025}, ["message"]),
        ({"regarding": {"kind": "Node", "name": "n"}}, ["involvedObject.namespace"]),
        ({"deprecatedCount": 2}, ["count"]),
        ({"deprecatedFirstTimestamp": "2026-01-01T00:00:00Z"}, ["firstTimestamp"]),
        ({"series": {"count": 1}}, ["series.count", "series.lastObservedTime"]),
    ],
)
def test_events_of_their_own_group(changes: dict[str, Any], wrong: list[str]) -> None:
    assert paths(EVENTS, "events", {**NEWER, **changes}) == wrong


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:10.000000Z"}}, []),
        ({"note": "changed"}, ["message"]),
        ({"type": "Warning", "deprecatedCount": 2}, ["count", "type"]),
        ({"reportingController": "other"}, ["reportingController"]),
    ],
)
def test_only_the_series_of_an_event_goes_on(changes: dict[str, Any], wrong: list[str]) -> None:
    assert paths(EVENTS, "events", {**NEWER, **changes}, NEWER) == wrong


@pytest.mark.parametrize(
    ("event", "wrong"),
    [
        ({"involvedObject": {"namespace": "ns"}}, []),
        ({"involvedObject": {"namespace": "other"}}, ["involvedObject.namespace"]),
        ({"involvedObject": {"kind": "Node", "name": "n"}}, ["involvedObject.namespace"]),
        (
            {"involvedObject": {"namespace": "ns"}, "eventTime": "2026-01-01T00:00:00.000000Z"},
            ["action", "reason", "reportingComponent", "reportingComponent", "reportingInstance"],
        ),
    ],
)
def test_events_of_the_core_group(event: dict[str, Any], wrong: list[str]) -> None:
    assert paths("", "events", event) == wrong
    assert paths("", "events", {**event, "message": "changed"}, {**event, "message": "m"}) == wrong


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"replicas": -1}, ["spec.replicas"]),
        ({"strategy": {"type": "Canary"}}, ["spec.strategy"]),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}, [UPDATE]),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
            [f"{UPDATE}.maxUnavailable"],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": "150%", "maxUnavailable": "200%"}}},
            [f"{UPDATE}.maxUnavailable"],
        ),
        ({"strategy": {"rollingUpdate": {"maxSurge": "many"}}}, [f"{UPDATE}.maxSurge"]),
        ({"minReadySeconds": 600}, ["spec.progressDeadlineSeconds"]),
        (
            {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
            ["spec.selector.matchExpressions[0].values", "spec.template.metadata.labels"],
        ),
    ],
)
def test_deployments(spec: dict[str, Any], wrong: list[str]) -> None:
    assert paths("apps", "deployments", {"spec": {**deployment()["spec"], **spec}}) == wrong


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"minAvailable": "50%"}, []),
        ({"minAvailable": "150%"}, ["spec.minAvailable"]),
        ({"maxUnavailable": -1}, ["spec.maxUnavailable"]),
        ({"minAvailable": 1, "maxUnavailable": 1}, ["spec"]),
    ],
)
def test_budgets(spec: dict[str, Any], wrong: list[str]) -> None:
    assert paths("policy", "poddisruptionbudgets", {"spec": spec}) == wrong


@pytest.mark.parametrize(
    ("resources", "wrong"),
    [
        ({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, "requests"),
        ({"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}, None),
        ({"requests": {"nvidia.com/gpu": "1"}}, "limits"),
        ({"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "2"}}, "requests"),
        ({"limits": {"nvidia.com/gpu": "1"}}, None),
        ({"limits": {"memory": "-1"}}, "limits[memory]"),
    ],
)
def test_resources_of_containers(resources: dict[str, Any], wrong: str | None) -> None:
    pod = {"spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}}
    found = {path.removeprefix("spec.containers[0].resources.") for path in paths("", "pods", pod)}
    assert (wrong in found) if wrong else not found


@pytest.mark.parametrize(
    ("before", "after", "allowed"), [(30, 5, False), (-1, 1, True), (-1, 2, False), (30, 1, False)]
)
def test_a_pods_grace_is_settled(before: int, after: int, allowed: bool) -> None:
    def pod(seconds: int) -> dict[str, Any]:
        containers = [{"name": "c", "image": "i"}]
        return {"spec": {"terminationGracePeriodSeconds": seconds, "containers": containers}}

    assert paths("", "pods", pod(after), pod(before)) == ([] if allowed else ["spec"])


def test_nodes() -> None:
    tainted = {"spec": {"taints": [{"key": "x", "effect": "Never"}, {"key": "y"}]}}
    wrong = ["metadata.taints[0].effect", "metadata.taints[1].effect"]
    assert paths("", "nodes", tainted) == wrong
    assert paths("", "nodes", tainted, {}) == sorted(2 * wrong)
    twice = {"spec": {"taints": [{"key": "x", "effect": "NoExecute"}] * 2}}
    assert paths("", "nodes", twice) == ["metadata.taints[1]"]
    half = {"status": {"allocatable": {"nvidia.com/gpu": "1.5", "cpu": "1.5"}}}
    assert paths("", "nodes", half, {}) == ["status.allocatable.nvidia.com/gpu"]


def test_data_of_maps_and_secrets() -> None:
    both = {"data": {"a": "1"}, "binaryData": {"a": "aGk="}}
    assert errors("", "configmaps", both) == [
        ("data[a]", 'Invalid value: "a": duplicate of key present in binaryData')
    ]
    assert paths("", "configmaps", {"data": {"a": "x" * 2**20}}) == []
    assert errors("", "configmaps", {"data": {"a": "x" * (2**20 + 1)}}) == [
        ("", "Too long: may not be more than 1048576 bytes")
    ]
    assert paths("", "secrets", {"stringData": {"a": "x" * (2**20 + 1)}}) == ["data"]
