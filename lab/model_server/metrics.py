"""vLLM's metrics under their real names, labels and bucket edges, in a registry cheap enough to
scrape every second on a busy machine.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Hides = Callable[[str], bool]

_INF = float("inf")
TTFT_EDGES = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0),
    *(2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
INTER_TOKEN_EDGES = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
LATENCY_EDGES = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)


def count_edges(largest: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, 50... up to `largest`."""
    edges = [mantissa * 10**exponent for exponent in range(10) for mantissa in (1, 2, 5)]
    return tuple(float(edge) for edge in edges if edge <= largest)


class Metric(Protocol):
    """One family: a name and its lines of exposition."""

    name: str

    def lines(self) -> Iterator[str]: ...


Family = TypeVar("Family", bound=Metric)


class Value:
    """One counter or gauge series."""

    def __init__(self, kind: str, name: str, help_text: str, labels: str) -> None:
        self.name = name
        self.value = 0.0
        self._head = f"# HELP {name} {help_text}\n# TYPE {name} {kind}"
        self._series = f"{name}{{{labels}}} "

    def lines(self) -> Iterator[str]:
        yield self._head
        yield f"{self._series}{self.value!r}"


class LabelledCounter:
    """A counter with more labels; a series that was not initialised appears with its first count."""

    def __init__(self, name: str, help_text: str, start: Iterable[str] = ()) -> None:
        self.name = name
        self._head = f"# HELP {name} {help_text}\n# TYPE {name} counter"
        self._values = dict.fromkeys(start, 0.0)

    def increment(self, labels: str) -> None:
        self._values[labels] = self._values.get(labels, 0.0) + 1.0

    def value(self, labels: str) -> float:
        return self._values.get(labels, 0.0)

    def lines(self) -> Iterator[str]:
        yield self._head
        for labels, value in self._values.items():
            yield f"{self.name}{{{labels}}} {value!r}"


class Histogram:
    """One histogram series with fixed bucket edges."""

    def __init__(self, name: str, help_text: str, labels: str, edges: tuple[float, ...]) -> None:
        self.name = name
        self.total = 0.0
        self._edges = edges
        self._counts = [0.0] * (len(edges) + 1)
        self._head = f"# HELP {name} {help_text}\n# TYPE {name} histogram"
        ends = (*(repr(edge) for edge in edges), "+Inf")
        self._buckets = [f'{name}_bucket{{{labels},le="{end}"}} ' for end in ends]
        self._count, self._sum = f"{name}_count{{{labels}}} ", f"{name}_sum{{{labels}}} "

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._edges, value)] += times
        self.total += value * times

    @property
    def count(self) -> float:
        return sum(self._counts)

    def lines(self) -> Iterator[str]:
        yield self._head
        cumulative = 0.0
        for prefix, count in zip(self._buckets, self._counts, strict=True):
            cumulative += count
            yield f"{prefix}{cumulative!r}"
        yield f"{self._count}{cumulative!r}"
        yield f"{self._sum}{self.total!r}"


class VllmMetrics:
    """The families of one vLLM engine and its HTTP front end."""

    def __init__(self, model_name: str, max_model_len: int) -> None:
        self._labels = f'engine="0",model_name="{_escape(model_name)}"'
        self._families: list[Metric] = []
        started = self._add(Value("gauge", "process_start_time_seconds", "Start time of the process.", ""))
        started.value = time.time()
        gauge, counter = self._gauge, self._counter
        self.running = gauge("num_requests_running", "Number of requests in model execution batches.")
        self.waiting = gauge("num_requests_waiting", "Number of requests waiting to be processed.")
        self.kv_usage = gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        self.prefix_queries = counter("prefix_cache_queries", "Prefix cache queries, in tokens.")
        self.prefix_hits = counter("prefix_cache_hits", "Prefix cache hits, in tokens.")
        self.preemptions = counter("num_preemptions", "Cumulative number of preemptions.")
        self.prompt_tokens = counter("prompt_tokens", "Number of prefill tokens processed.")
        self.generation_tokens = counter("generation_tokens", "Number of generation tokens processed.")
        self._success = self._add(
            LabelledCounter(
                "vllm:request_success_total",
                "Count of successfully processed requests.",
                [self._reason(reason) for reason in ("stop", "length", "abort")],
            )
        )
        self._histograms(max_model_len)
        self._http = self._add(
            LabelledCounter("http_requests_total", "Total number of requests by method, status and handler.")
        )

    def _histograms(self, max_model_len: int) -> None:
        histogram, lengths = self._histogram, count_edges(max_model_len)
        self.prompt_lengths = histogram("request_prompt_tokens", "Prefill tokens.", lengths)
        self.answer_lengths = histogram("request_generation_tokens", "Generation tokens.", lengths)
        self.ttft = histogram("time_to_first_token_seconds", "Time to first token.", TTFT_EDGES)
        self.inter_token = histogram("inter_token_latency_seconds", "Inter-token latency.", INTER_TOKEN_EDGES)
        self.e2e = histogram("e2e_request_latency_seconds", "End to end latency.", LATENCY_EDGES)
        self.queue = histogram("request_queue_time_seconds", "Time in WAITING phase.", LATENCY_EDGES)
        self.inference = histogram("request_inference_time_seconds", "Time in RUNNING phase.", LATENCY_EDGES)
        self.prefill = histogram("request_prefill_time_seconds", "Time in PREFILL phase.", LATENCY_EDGES)
        self.decode = histogram("request_decode_time_seconds", "Time in DECODE phase.", LATENCY_EDGES)

    def finished(self, reason: str) -> None:
        """Count an answer that ended with `stop`, `length` or `abort`."""
        self._success.increment(self._reason(reason))

    def http(self, handler: str, method: str, status: int) -> None:
        """Count an HTTP answer; the status is kept as its class, such as 2xx."""
        self._http.increment(f'handler="{handler}",method="{method}",status="{status // 100}xx"')

    def exposition(self, hides: Hides) -> str:
        """The text format of all families that are not hidden."""
        shown = (family for family in self._families if not hides(family.name))
        return "\n".join(line for family in shown for line in family.lines()) + "\n"

    def _reason(self, reason: str) -> str:
        return f'{self._labels},finished_reason="{reason}"'

    def _add(self, family: Family) -> Family:
        self._families.append(family)
        return family

    def _gauge(self, name: str, help_text: str) -> Value:
        return self._add(Value("gauge", f"vllm:{name}", help_text, self._labels))

    def _counter(self, name: str, help_text: str) -> Value:
        return self._add(Value("counter", f"vllm:{name}_total", help_text, self._labels))

    def _histogram(self, name: str, help_text: str, edges: tuple[float, ...]) -> Histogram:
        return self._add(Histogram(f"vllm:{name}", help_text, self._labels, edges))


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
