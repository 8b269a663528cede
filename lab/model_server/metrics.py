"""vLLM's metrics under their real names, labels and bucket edges, in a registry cheap enough to
scrape every second on a busy machine.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Hides = Callable[[str], bool]

FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")
ADMISSION_REASONS = ("max_num_queued_reqs", "max_num_queued_tokens")
NOT_COUNTED = re.compile("/metrics|/health|/load|/ping|/version|/server_info|/lab/")
"""Handlers that `http_requests_total` leaves out; a part is enough, so `/v1/load_lora_adapter` is one."""

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


def labelled(**labels: str) -> str:
    """Labels as an exposition has them: sorted, in braces."""
    inner = ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(labels.items()))
    return f"{{{inner}}}" if inner else ""


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
        self._head = _head(name, help_text, kind)
        self._series = f"{name}{labels} "

    def lines(self) -> Iterator[str]:
        yield self._head
        yield f"{self._series}{self.value!r}"


class Labelled:
    """Several series of one family, by their labels; one that is not there appears with its first count.

    Of a gauge without series nothing is said.
    """

    def __init__(self, kind: str, name: str, help_text: str, start: Iterable[str] = ()) -> None:
        self.name = name
        self._head = _head(name, help_text, kind)
        self._empty = () if kind == "gauge" else (self._head,)
        self._values = dict.fromkeys(start, 0.0)

    def add(self, labels: str, times: float = 1.0) -> None:
        self._values[labels] = self._values.get(labels, 0.0) + times

    def set(self, labels: str, value: float) -> None:
        self._values[labels] = value

    def value(self, labels: str) -> float:
        return self._values.get(labels, 0.0)

    def __contains__(self, labels: str) -> bool:
        return labels in self._values

    def lines(self) -> Iterator[str]:
        yield from (self._head,) if self._values else self._empty
        for labels, value in self._values.items():
            yield f"{self.name}{labels} {value!r}"


class Histogram:
    """One histogram series with fixed bucket edges."""

    def __init__(self, name: str, help_text: str, labels: dict[str, str], edges: tuple[float, ...]) -> None:
        self.name = name
        self.total = 0.0
        self._edges = edges
        self._counts = [0.0] * (len(edges) + 1)
        self._head = _head(name, help_text, "histogram")
        ends = (*(repr(edge) for edge in edges), "+Inf")
        self._buckets = [f"{name}_bucket{labelled(**labels, le=end)} " for end in ends]
        plain = labelled(**labels)
        self._count, self._sum = f"{name}_count{plain} ", f"{name}_sum{plain} "

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
    """The families of one vLLM engine and its HTTP front end.

    `model_name` is the first served name. Several `api_servers` tell neither when the process began nor when
    series were made.
    """

    def __init__(self, model_name: str, max_model_len: int, api_servers: int = 1) -> None:
        self._model = model_name
        self._labels = {"engine": "0", "model_name": model_name}
        self._families: list[Metric] = []
        self._alone = api_servers == 1
        if self._alone:
            started = self._add(Value("gauge", "process_start_time_seconds", "Start of the process.", ""))
            started.value = time.time()
        self._gauges()
        self._counters()
        self._histograms(max_model_len)
        self._http = self._add(
            Labelled(
                "counter", "http_requests_total", "Total number of requests by method, status and handler."
            )
        )
        self._http_created = self._created("http_requests", "Total number of requests", ())

    def _gauges(self) -> None:
        self.running = self._gauge("num_requests_running", "Number of requests in model execution batches.")
        self.waiting = self._gauge("num_requests_waiting", "Number of requests waiting to be processed.")
        self._waiting_by_reason = self._add(
            Labelled(
                "gauge",
                "vllm:num_requests_waiting_by_reason",
                "Number of requests waiting, by reason.",
                [labelled(**self._labels, reason=reason) for reason in ("capacity", "deferred")],
            )
        )
        self.kv_usage = self._gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")

    def _counters(self) -> None:
        counter = self._counter
        self.prefix_queries = counter("prefix_cache_queries", "Prefix cache queries, in tokens.")
        self.prefix_hits = counter("prefix_cache_hits", "Prefix cache hits, in tokens.")
        self.preemptions = counter("num_preemptions", "Cumulative number of preemptions.")
        self.prompt_tokens = counter("prompt_tokens", "Number of prefill tokens processed.")
        self.cached_tokens = counter("prompt_tokens_cached", "Number of cached prompt tokens.")
        self.generation_tokens = counter("generation_tokens", "Number of generation tokens processed.")
        reasons = [labelled(**self._labels, finished_reason=reason) for reason in FINISHED_REASONS]
        self._success = self._labelled_counter(
            "request_success", "Count of successfully processed requests.", reasons
        )
        refusals = [labelled(model_name=self._model, reason=reason) for reason in ADMISSION_REASONS]
        self._rejections = self._labelled_counter(
            "admission_rejections", "Requests refused before they were queued.", refusals
        )

    def _histograms(self, max_model_len: int) -> None:
        histogram, lengths = self._histogram, count_edges(max_model_len)
        self.prompt_lengths = histogram("request_prompt_tokens", "Prefill tokens.", lengths)
        self.answer_lengths = histogram("request_generation_tokens", "Generation tokens.", lengths)
        self.ttft = histogram("time_to_first_token_seconds", "Time to first token.", TTFT_EDGES)
        self.inter_token = histogram("inter_token_latency_seconds", "Inter-token latency.", INTER_TOKEN_EDGES)
        self.per_token = histogram(
            "request_time_per_output_token_seconds", "A request's time per output token.", INTER_TOKEN_EDGES
        )
        self.e2e = histogram("e2e_request_latency_seconds", "End to end latency.", LATENCY_EDGES)
        self.queue = histogram("request_queue_time_seconds", "Time in WAITING phase.", LATENCY_EDGES)
        self.inference = histogram("request_inference_time_seconds", "Time in RUNNING phase.", LATENCY_EDGES)
        self.prefill = histogram("request_prefill_time_seconds", "Time in PREFILL phase.", LATENCY_EDGES)
        self.decode = histogram("request_decode_time_seconds", "Time in DECODE phase.", LATENCY_EDGES)

    def wait(self, requests: int) -> None:
        """So many requests wait, all for room in the batch."""
        self.waiting.value = float(requests)
        self._waiting_by_reason.set(labelled(**self._labels, reason="capacity"), float(requests))

    def finished(self, reason: str) -> None:
        """Count a sequence that ended by itself, with one of FINISHED_REASONS; none is counted as aborted."""
        self._success.add(labelled(**self._labels, finished_reason=reason))

    def rejected(self) -> None:
        """Count a request that found the queue full."""
        self._rejections.add(labelled(model_name=self._model, reason=ADMISSION_REASONS[0]))

    def http(self, handler: str, method: str, status: int) -> None:
        """Count an HTTP answer at its end; the status is kept as its class, such as 2xx."""
        if NOT_COUNTED.search(handler):
            return
        labels = labelled(handler=handler, method=method, status=f"{status // 100}xx")
        if self._http_created and labels not in self._http:
            self._http_created.set(labels, time.time())
        self._http.add(labels)

    def exposition(self, hides: Hides) -> str:
        """The text format of all families that are not hidden."""
        shown = (family for family in self._families if not hides(family.name))
        return "\n".join(line for family in shown for line in family.lines()) + "\n"

    def _add(self, family: Family) -> Family:
        self._families.append(family)
        return family

    def _gauge(self, name: str, help_text: str) -> Value:
        return self._add(Value("gauge", f"vllm:{name}", help_text, labelled(**self._labels)))

    def _counter(self, name: str, help_text: str) -> Value:
        labels = labelled(**self._labels)
        made = self._add(Value("counter", f"vllm:{name}_total", help_text, labels))
        self._created(f"vllm:{name}", help_text, [labels])
        return made

    def _labelled_counter(self, name: str, help_text: str, start: list[str]) -> Labelled:
        made = self._add(Labelled("counter", f"vllm:{name}_total", help_text, start))
        self._created(f"vllm:{name}", help_text, start)
        return made

    def _histogram(self, name: str, help_text: str, edges: tuple[float, ...]) -> Histogram:
        made = self._add(Histogram(f"vllm:{name}", help_text, self._labels, edges))
        self._created(f"vllm:{name}", help_text, [labelled(**self._labels)])
        return made

    def _created(self, name: str, help_text: str, labels: Iterable[str]) -> Labelled | None:
        """When series were made, in Unix time, where the server tells."""
        if not self._alone:
            return None
        made = self._add(Labelled("gauge", f"{name}_created", help_text))
        for each in labels:
            made.set(each, time.time())
        return made


def _head(name: str, help_text: str, kind: str) -> str:
    return f"# HELP {name} {help_text}\n# TYPE {name} {kind}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
