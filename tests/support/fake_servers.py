"""Model servers in memory, and a picker that counts what adapters answer, as a rewrite splits them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.errors import PrometheusUnavailable, ServerRefused
from inference_rollouts.core.judging.metrics import SERIES, STARTED, Latency, parse_metric_set, series
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.warm_up import Answer
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import RATE

BASE, FIRST = "llama-3.1-8b", {"food-review-1": "/adapters/food-review-1"}


@dataclass
class FakeServers:
    """What each server (by URL) has loaded: name -> path. `refusing` are the words of some that load none.

    `lazy` servers have a resolver: they load any adapter when they are first asked for it.
    """

    loaded: dict[str, dict[str, str]] = field(default_factory=dict)
    refusing: dict[str, str] = field(default_factory=dict)
    mute: set[str] = field(default_factory=set)
    lazy: bool = False

    def on(self, url: str) -> dict[str, str]:
        return self.loaded.setdefault(url, dict(FIRST))

    def models(self, url: str) -> list[Served]:
        return [Served(BASE, "m"), *(Served(name, path, BASE) for name, path in self.on(url).items())]

    def load_adapter(self, url: str, name: str, path: str) -> None:
        if url in self.refusing:
            raise ServerRefused(400, self.refusing[url])
        self.on(url)[name] = path

    def unload_adapter(self, url: str, name: str) -> None:
        self.on(url).pop(name, None)

    def complete(self, url: str, model: str, *_: Any) -> Answer:
        if self.lazy:
            self.on(url).setdefault(model, f"/adapters/{model}")
        if model in self.mute or model not in (BASE, *self.on(url)):
            return Answer(404, None, 0.0, f"The model `{model}` does not exist.")
        choices = [{"text": "Good.", "finish_reason": "stop"}]
        return Answer(200, {"model": model, "choices": choices, "usage": {"completion_tokens": 2}}, 0.1)


@dataclass
class FakePickers:
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
            if thing := self.cluster.objects.get((kind, "food-review")):
                rule = thing["spec"] if listed == "targetModels" else thing["spec"]["rules"][0]
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
        n, found = int(self.requests[name]), []
        bad = int(n * self.failing.get(name, 0.0))
        for metric in parse_metric_set(load_metric_set("endpoint_picker").model_dump(mode="json")).metrics:
            for tag, _ in [] if metric.optional else series(metric):
                if isinstance(metric, Latency):
                    found += [self._sample(name, at, tag, n, str(le)) for le in (*metric.thresholds, "+Inf")]
                elif bad or "/bad/" not in tag:
                    found.append(self._sample(name, at, tag, bad if "/bad/" in tag else n))
        return found if n else []

    def _sample(self, name: str, at: float, tag: str, value: int, le: str | None = None) -> dict[str, Any]:
        labels = {"target_model_name": name, "pod": "llm-pool-epp-0", SERIES: tag}
        return {"metric": labels | ({"le": le} if le else {}), "value": [at, str(value)]}
