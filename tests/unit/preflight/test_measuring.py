"""Prometheus knows what the judge needs, and what the steps can see."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import (
    ClusterRefused,
    PlanInvalid,
    RolloutError,
)
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.guard import guard_of, read_storm_watch, storm_watch_of
from inference_rollouts.preflight.measuring import check_power
from inference_rollouts.preflight.named import metric_set_of
from inference_rollouts.rollout.observation import exporters_of, queries_of
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import preflight, refused
from tests.support.plans import food_review_plan

NOW = 1_800_000_000.0


def test_no_prometheus() -> None:
    cluster = FakeCluster()
    refused(RolloutError, "does not answer", cluster, prometheus=FakePrometheus(cluster, down=True))


def test_a_prometheus_that_does_not_know_the_stable_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    prometheus = FakePrometheus(cluster)
    monkeypatch.setattr(prometheus, "query", lambda *_: [])
    refused(ClusterRefused, "The judge would be blind", cluster, prometheus=prometheus)


def test_series_without_a_pod_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    prometheus = FakePrometheus(cluster)
    query = prometheus.query

    def without_pods(promql: str, at: float) -> list[dict[str, Any]]:
        return [
            {**sample, "metric": {name: value for name, value in sample["metric"].items() if name != "pod"}}
            for sample in query(promql, at)
        ]

    monkeypatch.setattr(prometheus, "query", without_pods)
    refused(ClusterRefused, "lacks the label `pod` on what llm-pool exports", cluster, prometheus=prometheus)


def test_a_gateway_that_says_nothing_of_stable_is_refused_with_what_was_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = FakeCluster()
    prometheus = FakePrometheus(cluster)
    monkeypatch.setattr(prometheus, "_gateway", lambda *_: [])
    words = "Scrape what exports envoy; its label envoy_cluster_name has to be default_llm-pool"
    refused(ClusterRefused, words, cluster, prometheus=prometheus)


def test_a_guardrail_that_says_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    preflight(FakeCluster(), metrics=["vllm", "gke_load_balancer"])
    [told] = [each for each in caplog.messages if each.startswith("gke_load_balancer raises no alarm")]
    assert "default_llm-pool" not in told
    assert "gkegw1-*-default-llm-pool-*-* exports no loadbalancing_googleapis_com" in told


def test_a_gateway_cannot_tell_adapters_apart() -> None:
    with pytest.raises(PlanInvalid, match="'envoy' tells pools apart; both adapters are in one"):
        metric_set_of(food_review_plan(metrics=["endpoint_picker", "envoy"]))


def power_of(cluster: FakeCluster, rate: Any, also: str = "", **changes: Any) -> tuple[str, list[str]]:
    prometheus = FakePrometheus(cluster, rate=rate, also=also)
    frozen = preflight(cluster, prometheus=prometheus, **changes)
    prometheus.last = None
    return check_power(prometheus, frozen, NOW, exporters_of(cluster, frozen))


def test_preflight_says_what_each_step_can_see() -> None:
    table, missed = power_of(FakeCluster(), 4000.0)
    assert "| 1 | 5 % |" in table
    assert not any("HTTP 5xx" in sentence for sentence in missed)


def test_steps_too_short_for_the_traffic_are_warned_of() -> None:
    _, missed = power_of(FakeCluster(), 0.5)
    assert any("Step 1 (5 % for 5 min) may miss 3 times the odds" in sentence for sentence in missed)


def test_a_plan_may_refuse_or_ignore_underpowered_steps() -> None:
    with pytest.raises(PlanInvalid, match="too short"):
        power_of(FakeCluster(), 0.5, analysis={"when_underpowered": "refuse"})
    assert power_of(FakeCluster(), 0.5, analysis={"when_underpowered": "ignore"})[1] == []


def test_the_traffic_of_other_clusters_in_the_same_store_is_none_of_ours() -> None:
    assert power_of(FakeCluster(), 20.0, also="theirs-") == power_of(FakeCluster(), 20.0)


def began(cluster: FakeCluster, at: str) -> None:
    """The containers of all pods."""
    for (kind, _), pod in cluster.objects.items():
        if kind == "Pod":
            pod["status"]["containerStatuses"] = [{"name": "server", "state": {"running": {"startedAt": at}}}]


def test_pods_of_our_names_in_another_cluster_are_none_of_ours() -> None:
    """Ours began at 1, as the store has it, and theirs at 9000."""
    cluster = FakeCluster()
    began(cluster, "1970-01-01T00:00:01Z")
    prometheus = FakePrometheus(cluster, rate=20.0, load=50.0, home="eu", namesakes=9000.0)
    frozen = Frozen.from_json(preflight(cluster, prometheus=prometheus).to_json())
    assert frozen.home == frozen.apart == (("cluster", "eu"),)
    prometheus.last = None
    assert check_power(prometheus, frozen, NOW, exporters_of(cluster, frozen)) == power_of(
        FakeCluster(), 20.0
    )
    watch = storm_watch_of(frozen)
    of_servers = queries_of(frozen)[0], watch.queries[0]
    assert all('cluster="eu"' in each.promql for each in of_servers)
    assert read_storm_watch(guard_of(frozen)) == watch


def test_pods_of_our_names_that_nothing_tells_from_ours_are_refused() -> None:
    cluster = FakeCluster()
    prometheus = FakePrometheus(cluster, home="eu", namesakes=9000.0)
    words = "has several pods called llm-pool-0, llm-pool-1, llm-pool-2 for vllm (cluster=away; cluster=eu)"
    refused(ClusterRefused, words, cluster, prometheus=prometheus)


def test_no_traffic_at_all_is_said() -> None:
    _, missed = power_of(FakeCluster(), 0.0)
    assert "Nothing was counted" in missed[0]
