"""Previews and mirrors: how a run goes with them, and that nothing of them is left."""

from __future__ import annotations

import copy
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.run.preview import PREVIEW, RUN
from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.include import edit

PREVIEW_NAME = "routes-to-llm-llm-pool-version-2-preview"

MIRROR = {"percent": 25, "bake": "500ms"}

TRIED = {"preview": {}, "mirror": MIRROR}


@pytest.fixture
def tried(include: Path) -> None:
    """A plan with a preview and a mirror."""
    edit(include, **TRIED)


@pytest.fixture
def filters(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The filters of the route after each patch of it, and the routes that existed then."""
    seen, patch = [], cluster.patch

    def watched(api: str, kind: str, name: str, ops: Any) -> K8sObject:
        answer = patch(api, kind, name, ops)
        rule = answer["spec"]["rules"][0]
        seen.append((cluster.weights(), [f["type"] for f in rule.get("filters", ())], previews(cluster)))
        return answer

    monkeypatch.setattr(cluster, "patch", watched)
    return seen


def previews(cluster: FakeCluster) -> list[str]:
    return [
        name
        for (kind, name), obj in cluster.objects.items()
        if kind == "HTTPRoute" and PREVIEW in obj["metadata"].get("labels", {})
    ]


@pytest.mark.usefixtures("tried")
def test_a_tried_canary_is_promoted_and_nothing_of_the_trial_is_left(
    rollout: Rollout, cluster: FakeCluster, filters: Any
) -> None:
    run = rollout()
    assert run.state == "success"
    assert run.ran("step_1.judge", "step_2.judge", "step_3.judge", "promote", "end_preview", "report")
    stable, canary = "llm-pool", "llm-pool-version-2"
    assert [state for state, _ in groupby(filters)] == [
        ({stable: 1, canary: 0}, [], []),
        ({stable: 1, canary: 0}, [], [PREVIEW_NAME]),
        ({stable: 1, canary: 0}, ["RequestMirror"], [PREVIEW_NAME]),
        ({stable: 50, canary: 50}, [], [PREVIEW_NAME]),
        ({stable: 0, canary: 100}, [], [PREVIEW_NAME]),
    ]
    assert previews(cluster) == []
    assert "| 1 | 25 % mirrored | advance |" in run.note
    assert "| 2 | 50 % | advance |" in run.note


@pytest.mark.usefixtures("tried")
def test_a_bad_canary_is_seen_in_its_copies_before_it_has_any_weight(
    rollout: Rollout, cluster: FakeCluster, prometheus: FakePrometheus
) -> None:
    prometheus.failing["llm-pool-version-2"] = 0.3
    before = copy.deepcopy(cluster.route)
    run = rollout()
    assert run.state == "failed"
    assert run.ran("rollback", "end_preview")
    assert run.states["step_2.shift"] == "skipped"
    assert cluster.route["spec"] == before["spec"]
    assert cluster.events[-3:] == ["WeightShifted", "CanaryAlarm", "RolledBack"]
    assert previews(cluster) == []


@pytest.mark.usefixtures("tried")
def test_copies_that_do_not_arrive_never_pass(
    rollout: Rollout, cluster: FakeCluster, prometheus: FakePrometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "copies", dict)
    run = rollout()
    assert run.ran("rollback")
    assert run.states["step_2.shift"] == "skipped"


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize("task", ["warm_up", "promote", "rollback"])
def test_whatever_task_raises_no_preview_is_left(rollout: Rollout, cluster: FakeCluster, task: str) -> None:
    run = rollout(raising=task, **({"weights": [100]} if task == "promote" else {}))
    assert run.ran("end_preview")
    assert previews(cluster) == []


@pytest.mark.usefixtures("tried")
def test_a_preview_that_cannot_be_made_ends_the_run_at_weight_0(
    rollout: Rollout, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, apply = copy.deepcopy(cluster.route), cluster.apply

    def dies(manifest: K8sObject, *, dry_run: bool = False) -> K8sObject:
        if manifest["kind"] == "HTTPRoute" and not dry_run:
            raise RuntimeError("killed between attaching and the preview")
        return apply(manifest, dry_run=dry_run)

    monkeypatch.setattr(cluster, "apply", dies)
    run = rollout()
    assert run.states["deploy_pool"] == "failed"
    assert run.ran("rollback", "end_preview")
    assert cluster.route["spec"] == before["spec"]


@pytest.mark.usefixtures("tried")
def test_the_preview_of_a_newer_run_stays(
    rollout: Rollout, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, patch = cluster.delete, cluster.patch

    def deleting(obj: K8sObject) -> None:
        assert obj["kind"] != "HTTPRoute", "another run's preview"
        delete(obj)

    monkeypatch.setattr(cluster, "delete", deleting)

    def taken_over(*args: Any) -> K8sObject:
        for name in previews(cluster):
            cluster.objects["HTTPRoute", name]["metadata"]["annotations"][RUN] = "rollout_llm/newer"
        return patch(*args)

    monkeypatch.setattr(cluster, "patch", taken_over)
    run = rollout()
    assert run.ran("promote", "end_preview")
    assert previews(cluster) == [PREVIEW_NAME]
