"""The picker's own metrics, by the names of llm-d's endpoint picker."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from time import time

from lab.gateway.picker.load import Load

PREFIX = "llm_d_epp_"
MODELS = ("model_name", "target_model_name")
DURATIONS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
FIRST_TOKENS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10)

Labels = tuple[str, ...]


class Metrics:
    """Counters and histograms of one pool's picker; durations in seconds."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._started = time()
        self._requests: Counter[Labels] = Counter()
        self._errors: Counter[Labels] = Counter()
        self._rewrites: Counter[Labels] = Counter()
        self._durations = Histogram(DURATIONS)
        self._first_tokens = Histogram(FIRST_TOKENS)

    def request(self, model: str, target: str, rewrite: str | None) -> None:
        """A request for `model` goes to `target`, by a rewrite or not."""
        self._requests[model, target] += 1
        if rewrite is not None:
            self._rewrites[rewrite, model, target] += 1

    def error(self, model: str, target: str, code: str) -> None:
        """A request was answered with an error."""
        self._errors[model, target, code] += 1

    def first_token(self, model: str, target: str, seconds: float) -> None:
        """A streamed answer has begun."""
        self._first_tokens.add((model, target), seconds)

    def end(self, model: str, target: str, seconds: float) -> None:
        """A request has been answered wholly."""
        self._durations.add((model, target), seconds)

    def text(self, loads: Mapping[str, Load]) -> str:
        """The page that Prometheus scrapes."""
        return "".join(f"{line}\n" for line in self._lines(loads))

    def _lines(self, loads: Mapping[str, Load]) -> Iterator[str]:
        yield "# TYPE process_start_time_seconds gauge"
        yield f"process_start_time_seconds {self._started:.3f}"
        yield from _family("request_total", "counter", MODELS, self._requests)
        yield from _family("request_error_total", "counter", (*MODELS, "error_code"), self._errors)
        rewrite = ("model_rewrite_name", "model_name", "target_model")
        yield from _family("model_rewrite_decisions_total", "counter", rewrite, self._rewrites)
        yield from self._durations.lines("request_duration_seconds")
        yield from self._first_tokens.lines("request_ttft_seconds")
        count = max(1, len(loads))
        gauges = {
            "ready_endpoints": float(len(loads)),
            "average_queue_size": sum(load.waiting for load in loads.values()) / count,
            "average_kv_cache_utilization": sum(load.cache for load in loads.values()) / count,
        }
        for name, value in gauges.items():
            yield from _family(name, "gauge", ("name",), {(self._pool,): value})


class Histogram:
    """Durations by model and target model."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def add(self, labels: Labels, seconds: float) -> None:
        """Count one duration."""
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, seconds)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + seconds

    def lines(self, name: str) -> Iterator[str]:
        """Its part of the page."""
        yield f"# TYPE {PREFIX}{name} histogram"
        for labels, counts in sorted(self._counts.items()):
            below = 0
            for bound, count in zip((*self._bounds, "+Inf"), counts, strict=True):
                below += count
                yield _line(f"{name}_bucket", (*MODELS, "le"), (*labels, str(bound)), below)
            yield _line(f"{name}_sum", MODELS, labels, self._sums[labels])
            yield _line(f"{name}_count", MODELS, labels, below)


def _family(name: str, kind: str, labels: Labels, values: Mapping[Labels, float]) -> Iterator[str]:
    yield f"# TYPE {PREFIX}{name} {kind}"
    for key, value in sorted(values.items()):
        yield _line(name, labels, key, value)


def _line(name: str, labels: Labels, values: Labels, value: float) -> str:
    pairs = ",".join(f'{label}="{_escape(each)}"' for label, each in zip(labels, values, strict=True))
    return f"{PREFIX}{name}{{{pairs}}} {value:.15g}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
