"""The picker's own metrics, by the names of llm-d's endpoint picker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from lab.gateway.picker.load import Load

PREFIX = "llm_d_epp_"


class Metrics:
    """Counters of one pool's picker."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._requests: Counter[tuple[str, ...]] = Counter()
        self._errors: Counter[tuple[str, ...]] = Counter()
        self._rewrites: Counter[tuple[str, ...]] = Counter()

    def request(self, model: str, target: str, rewrite: str | None) -> None:
        """A request for `model` goes to `target`, by a rewrite or not."""
        self._requests[model, target] += 1
        if rewrite is not None:
            self._rewrites[rewrite, model, target] += 1

    def error(self, model: str, target: str, code: str) -> None:
        """A request was answered with an error."""
        self._errors[model, target, code] += 1

    def text(self, loads: Mapping[str, Load]) -> str:
        """The page that Prometheus scrapes."""
        return "".join(f"{line}\n" for line in self._lines(loads))

    def _lines(self, loads: Mapping[str, Load]) -> Iterator[str]:
        models = ("model_name", "target_model_name")
        yield from _family("request_total", "counter", models, self._requests)
        yield from _family("request_error_total", "counter", (*models, "error_code"), self._errors)
        rewrite = ("model_rewrite_name", "model_name", "target_model")
        yield from _family("model_rewrite_decisions_total", "counter", rewrite, self._rewrites)
        count = max(1, len(loads))
        gauges = {
            "ready_endpoints": float(len(loads)),
            "average_queue_size": sum(load.waiting for load in loads.values()) / count,
            "average_kv_cache_utilization": sum(load.cache for load in loads.values()) / count,
        }
        for name, value in gauges.items():
            yield from _family(name, "gauge", ("name",), {(self._pool,): value})


def _family(
    name: str, kind: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> Iterator[str]:
    yield f"# TYPE {PREFIX}{name} {kind}"
    for key, value in sorted(values.items()):
        pairs = ",".join(f'{label}="{_escape(each)}"' for label, each in zip(labels, key, strict=True))
        yield f"{PREFIX}{name}{{{pairs}}} {value:g}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
