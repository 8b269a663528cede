"""What waiting tasks wait for: every parent, and each Deployment by what it is for."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.rollout.checks import attachment, workloads
from tests.support.read_only_cluster import Objects, frozen, pod, pool, routed, says, target

A, B = {"name": "a"}, {"name": "b"}
PREVIEW = {"metadata": {"name": "preview"}}


def run_of(live: Objects, **given: Any) -> Any:
    return SimpleNamespace(cluster=live, frozen=frozen(SimpleNamespace(canary="new"), **given))


def attached(second: dict[str, str], seen: int = 1) -> Any:
    """Two routes: the first at gateways a and b, the second refused by a and at b, with a preview."""
    live = Objects(
        routed([A, B], says(A), says(B)),
        routed([A, B], says(A, Accepted="False"), says(B, seen, **second), name="second"),
        routed([A, B], says(A), says(B), name="preview"),
        *pool("new", says(A), says(B)),
    )
    parents = (
        Parent("a", "default", controller="c", route="routes-to-llm"),
        Parent("b", "default", controller="c", route="routes-to-llm"),
        Parent("b", "default", controller="c", route="second"),
    )
    return run_of(live, parents=parents, targets=(target(), target("second")), previews=(PREVIEW,))


def test_each_route_is_asked_about_at_the_parents_that_accepted_it() -> None:
    assert attachment(attached({})).phase is Phase.READY


@pytest.mark.parametrize("second", [{"ResolvedRefs": "False"}, {"Programmed": "False"}])
def test_one_parent_that_says_no_is_waited_for_by_name(second: dict[str, str]) -> None:
    answer = attachment(attached(second))
    assert answer.phase is Phase.WAITING
    assert "HTTPRoute second: " in answer.message
    assert "Gateway default/b" in answer.message


def test_the_preview_is_asked_about_at_the_parents_of_its_route() -> None:
    run = attached({})
    run.cluster.objects[2]["status"]["parents"].pop(0)
    assert "HTTPRoute preview: Gateway default/a has not reported" in attachment(run).message


def test_the_pool_must_be_accepted_by_every_gateway() -> None:
    run = attached({})
    (live,) = [each for each in run.cluster.objects if each["kind"] == "InferencePool"]
    live["status"]["parents"].pop()
    assert "InferencePool new: Gateway default/b has not reported" in attachment(run).message


def deployment(name: str, ready: int, want: int, created: float) -> dict[str, Any]:
    labels = {"inference-pool": "new"} if name == "new" else {"app": name}
    stamp = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "creationTimestamp": stamp},
        "spec": {
            "replicas": want,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}},
        },
        "status": {"replicas": want, "updatedReplicas": want, "availableReplicas": ready},
    }


def deployed(created: float, began: float, died: float, servers: int = 3) -> Any:
    """The canary with a picker of which one of three is Ready; its first server died 3 times until `died`."""
    live = Objects(
        deployment("new", servers, 3, created), deployment("new-epp", 1, 3, created), *pool("new", pods=3)
    )
    ended = datetime.fromtimestamp(died, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    first = next(each for each in live.objects if each["metadata"]["name"] == "new-0")
    first["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    first["status"]["containerStatuses"] = [
        {"restartCount": 3, "lastState": {"terminated": {"finishedAt": ended}}}
    ]
    standby = pod("new-epp-1", app="new-epp")
    live.objects.append({**standby, "status": {}})
    manifests = tuple(each for each in live.objects if each["kind"] != "Pod")
    return run_of(live, parents=(), manifests=manifests, began=began)


def test_a_canary_that_had_its_crashes_before_this_run_is_ready_with_one_picker_of_three() -> None:
    now = time.time()
    assert workloads(deployed(now - 9000, began=now - 60, died=now - 5000)).phase is Phase.READY


def test_crashes_since_the_run_began_or_its_deployment_was_created_count() -> None:
    now = time.time()
    assert workloads(deployed(now - 9000, began=now - 600, died=now - 300)).phase is Phase.FAILED
    assert workloads(deployed(now - 300, began=0.0, died=now - 200)).phase is Phase.FAILED
    assert workloads(deployed(now - 300, began=0.0, died=now - 5000)).phase is Phase.READY


def test_every_model_server_is_waited_for() -> None:
    now = time.time()
    waiting = workloads(deployed(now - 9000, began=now - 60, died=now - 5000, servers=2))
    assert waiting.phase is Phase.WAITING
