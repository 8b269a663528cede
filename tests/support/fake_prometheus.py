"""Counters of two pools, and of their gateway, that grow with the weights of a FakeCluster's route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.judging.metrics import SERIES, STARTED, Latency, Rate
from inference_rollouts.core.judging.queries import series
from inference_rollouts.core.objects.inference_pool import ports
from inference_rollouts.rollout.pods import base_url
from tests.support.asked_alike import AskedAlike
from tests.support.fake_cluster import FakeCluster

RATE = 4000.0  # requests/s of both pools together: enough to decide within a second


@cache
def _metrics() -> tuple[Rate | Latency, ...]:
    return load_metric_set("vllm").metrics


@cache
def _beside_vllm(name: str) -> tuple[Rate | Latency, ...]:
    """The metrics of a set that judges beside the servers'."""
    return load_metric_set("vllm", name).beside[0].metrics


_COUNTED = ("requests", "failed", "sent", "served", "erred")


@dataclass
class FakePrometheus(AskedAlike):
    """All pods of a pool get the same; `failing` is the share of requests that they answer with an error.

    `lost` is the share of what the gateway sends to a pool that never reaches it, `unpicked` the share of
    what it answers that its own picker has not seen. What servers `answered` directly is counted too, by
    their URLs. As a real vLLM, a new pod shows no requests before its first one. `unscraped` pods are
    unknown, `unlabelled` ones lack their pool's label; `hidden` are metrics that a pool lacks. Of a pool with
    several ports each is a server, told apart by its address unless they are `blended`.
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
    served: dict[str, float] = field(default_factory=dict)  # by pod, as the next one
    erred: dict[str, float] = field(default_factory=dict)
    answered: Mapping[str, int] = field(default_factory=dict)
    unscraped: set[str] = field(default_factory=set)
    unlabelled: set[str] = field(default_factory=set)
    home: str = ""  # what all is labelled with as its `cluster`; another one's with `away`
    also: str = ""  # another cluster, of the same pools and traffic: its pods are named so, and then as ours
    namesakes: float = 0.0  # when its pods began where they are called as ours; 0: they are not
    blended: bool = False
    hidden: dict[str, set[str]] = field(default_factory=dict)
    last: float | None = None
    _past: list[tuple[float, dict[str, dict[str, float]]]] = field(default_factory=list)

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        if self.down:
            raise PrometheusUnavailable("Prometheus at http://127.0.0.1:9 does not answer: refused")
        if "avg_over_time" in promql:
            gauges = self._gauges(at)
            return self._asked(
                promql, [*gauges, *self._begun(at)] if gauges and STARTED in promql else gauges
            )
        if promql.startswith("process_start_time_seconds"):
            servers = [(pool, pod) for pool in self._pools() for pod in self._pods(pool)]
            return [
                self._at(pod, port, self._started(pool, pod, at))
                for pool, pod in servers
                for port in self._ports(pool, pod)
            ]
        self._grow(at)
        now = {name: getattr(self, name) for name in _COUNTED}
        try:
            vars(self).update(self._as_of(at))
            return self._asked(promql, self._counters(promql, at))
        finally:
            vars(self).update(now)

    def _counters(self, promql: str, at: float) -> list[dict[str, Any]]:
        if "envoy_cluster_name" in promql:
            return [sample for pool in self.cluster.weights() for sample in self._gateway(pool, at)]
        if "llm_d_epp" in promql:
            return [sample for pool in self._pools() for sample in self._picker(pool, at)]
        own = [
            sample
            for pool in self._pools()
            for pod in self._pods(pool)
            if pod not in self.unlabelled
            for port in self._ports(pool, pod)
            for sample in self._samples(pool, pod, port, at)
        ]
        return [*own, *(self._theirs(sample) for sample in own if self.also or self.namesakes)]

    def _ports(self, pool: str, pod: str) -> list[int]:
        """Those that are scraped."""
        numbers = ports(self.cluster.objects["InferencePool", pool])
        return [each for each in numbers if f"{pod}:{each}" not in self.unscraped]

    def _at(self, pod: str, port: int, sample: dict[str, Any]) -> dict[str, Any]:
        where = {} if self.blended else {"instance": f"{self.cluster.address(pod)}:{port}"}
        return {**sample, "metric": sample["metric"] | where}

    def _theirs(self, sample: dict[str, Any]) -> dict[str, Any]:
        theirs = {"pod": f"{self.also}{sample['metric']['pod']}"} | ({"cluster": "away"} if self.home else {})
        begun = self.namesakes and sample["metric"][SERIES] == STARTED
        value = [sample["value"][0], str(self.namesakes)] if begun else sample["value"]
        return {"metric": sample["metric"] | theirs, "value": value}

    def _asked(self, promql: str, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that a query for one cluster's asks for."""
        if not self.home:
            return samples
        labelled = [{**each, "metric": {"cluster": self.home} | each["metric"]} for each in samples]
        alone = f'cluster="{self.home}"' in promql
        return [each for each in labelled if not alone or each["metric"]["cluster"] == self.home]

    def _pools(self) -> list[str]:
        return self.cluster.names("InferencePool")

    def _pods(self, pool: str) -> list[str]:
        return [pod for pod in self.cluster.endpoints_of(pool) if pod not in self.unscraped]

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
            pods = self.cluster.endpoints_of(pool)
            for pod in pods:
                mine = grown / len(pods)
                self.served[pod] = self.served.get(pod, 0.0) + mine
                self.erred[pod] = self.erred.get(pod, 0.0) + mine * self.failing.get(pool, 0.0)
            self.failed[pool] = self.failed.get(pool, 0.0) + grown * self.failing.get(pool, 0.0)
        if self.last is None or at > self.last:
            self.last = at
            self._past.append((at, {name: dict(getattr(self, name)) for name in _COUNTED}))

    def _as_of(self, at: float) -> dict[str, dict[str, float]]:
        """What was counted by then: several queries may ask for several times, one after the other."""
        known = (counted for when, counted in reversed(self._past) if when <= at)
        return next(known, self._past[0][1])

    def _gauges(self, at: float) -> list[dict[str, Any]]:
        """Half of the load is running, half waiting."""
        pods = [pod for pool in self._pools() for pod in self.cluster.endpoints_of(pool)]
        if self.load is None:
            return []
        own = [
            {"metric": {"pod": pod, SERIES: gauge}, "value": [at, str(self.load / len(pods) / 2)]}
            for pod in pods
            for gauge in ("0", "1")
        ]
        return [*own, *(self._theirs(sample) for sample in own if self.also or self.namesakes)]

    def _begun(self, at: float) -> list[dict[str, Any]]:
        """When the processes began that export gauges."""
        own = [self._started(pool, pod, at) for pool in self._pools() for pod in self._pods(pool)]
        return [*own, *(self._theirs(each) for each in own if self.also or self.namesakes)]

    def _samples(self, pool: str, pod: str, port: int, at: float) -> list[dict[str, Any]]:
        direct = self.answered.get(base_url(self.cluster.objects["Pod", pod], port), 0)
        servers = len(ports(self.cluster.objects["InferencePool", pool]))
        n = self.served.get(pod, 0.0) / servers + direct
        new = not n and pool not in self.cluster.weights()
        failed = self.erred.get(pod, 0.0) / servers
        samples = [self._started(pool, pod, at)]
        for metric in _metrics():
            for tag, selector in series(metric) if metric.name not in self.hidden.get(pool, ()) else ():
                if isinstance(metric, Rate):
                    of_errors = failed if metric.name == "errors" else 0.0
                    bad = of_errors if metric.direction == "higher-is-worse" else n
                    if not (new and selector.startswith("http_requests_total")):
                        samples.append(self._sample(pool, pod, at, tag, bad if "/bad/" in tag else n))
                elif isinstance(metric, Latency):
                    samples += [
                        self._sample(pool, pod, at, tag, n, le)
                        for le in (*map(str, metric.thresholds), "+Inf")
                    ]
        return [self._at(pod, port, sample) for sample in samples]

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
        pod = next(iter(self.cluster.pods_of(f"{pool}-epp")), f"{pool}-0")
        if pod in self.unscraped:
            return []
        pickers = _beside_vllm("endpoint_picker")
        tags = [tag for metric in pickers for tag, _ in series(metric) if tag.endswith(("total/0", "le/0"))]
        bounds = [
            str(le)
            for metric in pickers
            if isinstance(metric, Latency)
            for le in (*metric.thresholds, "+Inf")
        ]
        counted = [
            self._sample(pool, pod, at, tag, n, le)
            for tag in tags
            for le in (bounds if "/le/" in tag else [None])
        ]
        return [self._started(pool, pod, at), *(counted if pool in self.cluster.weights() else [])]

    def _started(self, pool: str, pod: str, at: float) -> dict[str, Any]:
        return self._sample(pool, pod, at, STARTED, 1.0)

    def _sample(
        self, pool: str, pod: str, at: float, tag: str, value: float, le: str | None = None
    ) -> dict[str, Any]:
        labels = {"inference_pool": pool, "namespace": "default", "pod": pod, SERIES: tag}
        labels |= {"le": le} if le else {}
        if pod in self.unlabelled:
            del labels["inference_pool"]
        return {"metric": labels, "value": [at, str(int(value))]}
