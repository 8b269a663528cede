"""A metrics store whose picker counts what adapters answer, as a rewrite splits them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.judging.metrics import SERIES, STARTED, Latency, Rate
from inference_rollouts.core.judging.queries import series
from tests.support.asked_alike import AskedAlike
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import RATE


@cache
def _metrics() -> tuple[Rate | Latency, ...]:
    return load_metric_set("endpoint_picker").metrics


@dataclass
class FakePickers(AskedAlike):
    """Prometheus with the one picker of llm-pool; `failing` is the share of failures of each adapter."""

    cluster: FakeCluster
    failing: dict[str, float] = field(default_factory=dict)
    down: bool = False
    requests: dict[str, float] = field(default_factory=dict)
    last: float | None = None
    asked: list[str] = field(default_factory=list)

    def weights(self) -> dict[str, int]:
        """What answers for the alias, as the rewrite or the older model says."""
        for kind, listed in (("InferenceModelRewrite", "targets"), ("InferenceModel", "targetModels")):
            if obj := self.cluster.objects.get((kind, "food-review")):
                rule = obj["spec"] if listed == "targetModels" else obj["spec"]["rules"][0]
                return {
                    each.get("modelRewrite") or each["name"]: each.get("weight", 1) for each in rule[listed]
                }
        return {}

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        if self.down:
            raise PrometheusUnavailable("Prometheus at http://127.0.0.1:9 does not answer: refused")
        self.asked.append(promql)
        elapsed = max(0.0, at - self.last) if self.last is not None else 0.0
        weights = self.weights()
        for name, weight in weights.items():
            gained = elapsed * RATE * weight / sum(weights.values())
            self.requests[name] = self.requests.get(name, 0.0) + gained
        self.last = at if self.last is None else max(at, self.last)
        started = {"metric": {"pod": "llm-pool-epp-0", SERIES: STARTED}, "value": [at, "1"]}
        return [started, *(each for name in self.requests for each in self._samples(name, at))]

    def _samples(self, name: str, at: float) -> list[dict[str, Any]]:
        n = int(self.requests[name])
        samples: list[dict[str, Any]] = []
        bad = int(n * self.failing.get(name, 0.0))
        for metric in _metrics():
            for tag, _ in [] if metric.optional else series(metric):
                if isinstance(metric, Latency):
                    samples += [
                        self._sample(name, at, tag, n, str(le)) for le in (*metric.thresholds, "+Inf")
                    ]
                elif bad or "/bad/" not in tag:
                    samples.append(self._sample(name, at, tag, bad if "/bad/" in tag else n))
        return samples if n else []

    def _sample(self, name: str, at: float, tag: str, value: int, le: str | None = None) -> dict[str, Any]:
        labels = {"target_model_name": name, "pod": "llm-pool-epp-0", SERIES: tag}
        return {"metric": labels | ({"le": le} if le else {}), "value": [at, str(value)]}
