"""Counters of two pools, and of their gateway, that grow with the weights of a FakeCluster's route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.judging.metrics import SERIES, STARTED, Latency, Rate
from inference_rollouts.core.judging.queries import series
from tests.support.fake_cluster import FakeCluster

RATE = 4000.0  # requests/s of both pools together: enough to decide within a second


@cache
def _metrics() -> tuple[Rate | Latency, ...]:
    return load_metric_set("vllm").metrics


@cache
def _beside_vllm(name: str) -> tuple[Rate | Latency, ...]:
    """The metrics of a set that judges beside the servers'."""
    return load_metric_set("vllm", name).beside[0].metrics


_Counted = tuple[dict[str, float], dict[str, float], dict[str, float]]


@dataclass
class FakePrometheus:
    """Each pool has one pod; `failing` is the share of requests that it answers with an error.

    `lost` is the share of what the gateway sends to a pool that never reaches it, `unpicked` the share of
    what it answers that its own picker has not seen.
    """

    cluster: FakeCluster
    failing: dict[str, float] = field(default_factory=dict)
    down: bool = False
    rate: float = RATE
    load: float | None = None  # requests in flight, evenly on all pods; None: no pod tells
    elsewhere: dict[str, float] = field(default_factory=dict)  # what pools get beside, as a share of `rate`
    requests: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)
    unpicked: dict[str, float] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    last: float | None = None
    _past: list[tuple[float, _Counted]] = field(default_factory=list)

    def query_range(self, promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
        return [self.query(promql, each) for each in at]

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        if self.down:
            raise PrometheusUnavailable("Prometheus at http://127.0.0.1:9 does not answer: refused")
        if "avg_over_time" in promql:
            return self._gauges(at)
        self._grow(at)
        now = self.requests, self.failed, self.sent
        try:
            self.requests, self.failed, self.sent = self._as_of(at)
            return self._counters(promql, at)
        finally:
            self.requests, self.failed, self.sent = now

    def _counters(self, promql: str, at: float) -> list[dict[str, Any]]:
        if "envoy_cluster_name" in promql:
            return [sample for pool in self.cluster.weights() for sample in self._gateway(pool, at)]
        if "llm_d_epp" in promql:
            return [sample for pool in self.cluster.weights() for sample in self._picker(pool, at)]
        return [sample for pool in self.cluster.names("InferencePool") for sample in self._samples(pool, at)]

    def _grow(self, at: float) -> None:
        weights, copies = self.cluster.weights(), self.cluster.copies()
        total = sum(weights.values())
        for pool, weight in weights.items():
            share = weight / total + copies.get(pool, 0) / 100 + self.elsewhere.get(pool, 0.0)
            elapsed = max(0.0, at - self.last) if self.last is not None else 0.0
            sent = elapsed * self.rate * share
            self.sent[pool] = self.sent.get(pool, 0.0) + sent
            grown = sent * (1 - self.lost.get(pool, 0.0))
            self.requests[pool] = self.requests.get(pool, 0.0) + grown
            self.failed[pool] = self.failed.get(pool, 0.0) + grown * self.failing.get(pool, 0.0)
        if self.last is None or at > self.last:
            self.last = at
            self._past.append((at, (dict(self.requests), dict(self.failed), dict(self.sent))))

    def _as_of(self, at: float) -> _Counted:
        """What was counted by then: several queries may ask for several times, one after the other."""
        known = (counted for when, counted in reversed(self._past) if when <= at)
        return next(known, self._past[0][1])

    def _gauges(self, at: float) -> list[dict[str, Any]]:
        """Half of the load is running, half waiting."""
        pods = self.cluster.names("Pod")
        if self.load is None:
            return []
        return [
            {"metric": {"pod": pod, SERIES: gauge}, "value": [at, str(self.load / len(pods) / 2)]}
            for pod in pods
            for gauge in ("0", "1")
        ]

    def _samples(self, pool: str, at: float) -> list[dict[str, Any]]:
        n = self.requests.get(pool, 0.0)
        samples = [self._sample(pool, at, STARTED, 1.0)]
        for metric in _metrics():
            for tag, _ in series(metric):
                if isinstance(metric, Rate):
                    failed = self.failed.get(pool, 0.0) if metric.name == "errors" else 0.0
                    bad = failed if metric.direction == "higher-is-worse" else n
                    samples.append(self._sample(pool, at, tag, bad if "/bad/" in tag else n))
                elif isinstance(metric, Latency):
                    samples += [
                        self._sample(pool, at, tag, n, le) for le in (*map(str, metric.thresholds), "+Inf")
                    ]
        return samples

    def _gateway(self, pool: str, at: float) -> list[dict[str, Any]]:
        sent, requests = self.sent.get(pool, 0.0), self.requests.get(pool, 0.0)
        bad = {"envoy_errors": sent - requests + self.failed.get(pool, 0.0)}
        where = {"envoy_cluster_name": f"default_{pool}", "instance": "gateway-0"}
        return [
            {"metric": where | {SERIES: tag}, "value": [at, str(int(count))]}
            for metric in _beside_vllm("envoy")
            for tag, count in (
                (f"{metric.name}/total/0", sent),
                (f"{metric.name}/bad/0", bad.get(metric.name, 0.0)),
            )
        ]

    def _picker(self, pool: str, at: float) -> list[dict[str, Any]]:
        n = self.requests.get(pool, 0.0) * (1 - self.unpicked.get(pool, 0.0))
        pickers = _beside_vllm("endpoint_picker")
        tags = [tag for metric in pickers for tag, _ in series(metric) if tag.endswith(("total/0", "le/0"))]
        bounds = [
            str(le)
            for metric in pickers
            if isinstance(metric, Latency)
            for le in (*metric.thresholds, "+Inf")
        ]
        counted = [
            self._sample(pool, at, tag, n, le) for tag in tags for le in (bounds if "/le/" in tag else [None])
        ]
        return [self._sample(pool, at, STARTED, 1.0), *counted]

    def _sample(self, pool: str, at: float, tag: str, value: float, le: str | None = None) -> dict[str, Any]:
        labels = {"inference_pool": pool, "pod": f"{pool}-0", SERIES: tag} | ({"le": le} if le else {})
        return {"metric": labels, "value": [at, str(int(value))]}
