"""Pods that are killed while they drain are told of before they serve."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.serving.draining import cut_short
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight
from tests.support.plans import llm

WORK = llm()["workload"]
PARALLEL = {"preStop": {"sleep": {"seconds": 15}}}


def pool(grace: int | None, *args: str, lifecycle: Any = None, beside: Any = None) -> list[dict[str, Any]]:
    """A pool and its servers."""
    server = {
        "name": "s",
        "command": ["vllm", "serve", "m"],
        "args": list(args),
        "lifecycle": lifecycle or {},
    }
    pod: dict[str, Any] = {"containers": [server, *([beside] if beside else [])]}
    if grace is not None:
        pod["terminationGracePeriodSeconds"] = grace
    labels = {"app": "a"}
    return [
        {"kind": "InferencePool", "metadata": {"name": "p"}, "spec": {"selector": {"matchLabels": labels}}},
        {
            "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}},
        },
    ]


def hook(*command: str) -> dict[str, Any]:
    return {"preStop": {"exec": {"command": list(command)}}}


@pytest.mark.parametrize(
    ("manifests", "needed"),
    [
        (pool(None), None),
        (pool(120, "--shutdown-timeout=90", lifecycle=PARALLEL), None),
        (pool(105, "--shutdown-timeout=90", lifecycle=PARALLEL), 105),
        (pool(None, "--shutdown-timeout", "90"), 90),
        (pool(None, lifecycle=hook("sh", "-c", "sleep 45; kill -INT 1")), 45),
        (pool(None, lifecycle=hook("sleep", "1m")), 60),
        (pool(None, lifecycle=hook("sleep", "20")), None),
        (pool(60, beside={"name": "proxy", "lifecycle": hook("/bin/sleep", "60")}), 60),
        (pool(600, "--shutdown-timeout=auto"), None),
    ],
)
def test_a_grace_is_longer_than_what_a_pod_takes_to_end(
    manifests: list[dict[str, Any]], needed: int | None
) -> None:
    found = list(cut_short(manifests))
    assert len(found) == (needed is not None)
    assert all(f"Deployment d: its pods need {needed} s to end" in each for each in found)


def test_a_plan_whose_servers_want_longer_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    work = {"args": ["--shutdown-timeout=600"]}
    preflight(FakeCluster())
    assert "to end (what preStop sleeps" not in caplog.text
    preflight(FakeCluster(), workload=WORK | work)
    assert "its pods need 615 s to end" in caplog.text
