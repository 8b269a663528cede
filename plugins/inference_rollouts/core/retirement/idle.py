"""Since when has nothing run in a pool, or for an adapter: what Prometheus is asked, and what it means."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.judging.arms import Arm, Ports, server_in, server_names
from inference_rollouts.core.judging.metrics import SERIES, STARTED, MetricSet
from inference_rollouts.core.judging.promql import quoted, split_selector
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.judging.sites import CLOCK
from inference_rollouts.core.serving.engines import vllm

INSIDE, ANSWERED, ALIVE = "inside", "answered", STARTED


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen at Unix time `at`: why it is not quiet (empty: it is), counts of requests, and when
    the processes that count them began, by pod (Unix seconds)."""

    at: float
    busy: str
    answered: Mapping[tuple[str, str], float] = field(default_factory=dict)
    begun: Mapping[str, frozenset[float]] = field(default_factory=dict)

    def goes_on(self, before: Observation) -> bool:
        """Whether the same processes have answered nothing since: one that began anew has forgotten what the
        one before it answered, and nobody has seen its end."""
        if self.answered != before.answered or self.begun.keys() != before.begun.keys():
            return False
        pairs = [(before.begun[pod], starts) for pod, starts in self.begun.items()]
        return all(_is_near(one, other) and _is_near(other, one) for one, other in pairs)


@dataclass(frozen=True, slots=True)
class Clock:
    """Since when nothing has been seen to run; None while something does, or while nobody knows."""

    since: float | None = None
    last: Observation | None = None

    def tick(self, observation: Observation) -> Clock:
        """The clock after an observation: it starts anew with every sign of a request, and without data."""
        before = None if self.last is None or self.last.busy else self.last
        answered = before is not None and not observation.goes_on(before)
        if observation.busy or answered:
            return Clock(None, observation)
        return Clock(observation.at if self.since is None else self.since, observation)

    def is_quiet(self, longest: float) -> bool:
        return self.since is not None and self.last is not None and self.last.at - self.since >= longest

    def sentence(self, longest: float) -> str:
        """How far the wait of `longest` seconds is, for people."""
        if self.last is None or self.last.busy:
            return self.last.busy if self.last else "nothing has been seen yet"
        if self.since is None:
            return "requests came just now"
        return f"quiet for {format_duration(self.last.at - self.since)} of {format_duration(longest)}"


def activity_query(metric_set: MetricSet, arm: Arm, seconds: int) -> str:
    """What the processes of an arm exported in the last `seconds`, as raw series: labels tell whose they are.

    Requests inside (no gauge counts those of an adapter), requests so far, and when they began.
    """
    place = (("namespace", arm.namespace),) if arm.namespace else ()
    own = ((arm.label, arm.value),)
    process = (*place, *(arm.process or own))
    assert metric_set.started  # only gateways have none
    parts = [_part("last", metric_set.started, process, ALIVE, seconds)]
    for number, gauge in enumerate(() if arm.process else metric_set.load or vllm.LOAD_GAUGES):
        parts.append(_part("max", gauge, process, f"{INSIDE}/{number}", seconds))
    requests = metric_set[metric_set.errors]
    for number, counter in enumerate(getattr(requests, "total", ())):
        labels = (*process, *own) if arm.process else process
        parts.append(_part("last", counter, labels, f"{ANSWERED}/{number}", seconds))
    return "\nor ".join(parts)


def observed_pool(
    at: float, samples: Sequence[Sample], pod_label: str, pods: set[str], ports: Ports = ()
) -> Observation:
    """A pool observed: quiet when every one of its ready `pods` says that nothing is inside.

    `ports`: those of each pod, where it has a server at each of several; then every one of these says so.
    """
    inside = list(_values(samples, pod_label, INSIDE))
    telling = {server_in(labels, ports, pod_label) for labels in _labels(samples, INSIDE)}
    if silent := {name for pod in pods for name in server_names(pod, ports)} - telling:
        return Observation(at, f"Prometheus has no data of {', '.join(sorted(silent))}")
    if loud := {pod for (_, pod), value in inside if value != 0}:
        return Observation(at, f"requests are running or waiting in {', '.join(sorted(loud))}")
    return _quiet(at, samples, pod_label)


def observed_adapter(at: float, samples: Sequence[Sample], pod_label: str, pool: str) -> Observation:
    """An adapter observed: nothing is known of it while the pool's endpoint picker says nothing."""
    if not list(_values(samples, pod_label, ALIVE)):
        return Observation(at, f"Prometheus has no data of the endpoint picker of {pool}")
    return _quiet(at, samples, pod_label)


def untold(at: float, pods: Collection[str]) -> Observation:
    """Of several pods of one name, some in other clusters, nothing tells which are ours: nothing is known."""
    names = ", ".join(sorted(pods))
    return Observation(at, f"Prometheus has several pods called {names}, and nothing tells which are ours")


def _quiet(at: float, samples: Sequence[Sample], pod_label: str) -> Observation:
    answered: dict[tuple[str, str], float] = {}
    for key, value in _values(samples, pod_label, ANSWERED):
        answered[key] = answered.get(key, 0.0) + value
    begun: dict[str, frozenset[float]] = {}
    for (_, pod), value in _values(samples, pod_label, ALIVE):
        begun[pod] = begun.get(pod, frozenset()) | {value}
    return Observation(at, "", answered, begun)


def _is_near(starts: Collection[float], others: Collection[float]) -> bool:
    return all(any(abs(start - other) <= CLOCK for other in others) for start in starts)


def _values(samples: Sequence[Sample], pod_label: str, part: str) -> Iterator[tuple[tuple[str, str], float]]:
    for labels, value in samples:
        if _is_of(labels, part):
            yield (labels[SERIES], labels.get(pod_label, "")), value


def _labels(samples: Sequence[Sample], part: str) -> Iterator[Mapping[str, str]]:
    return (labels for labels, _ in samples if _is_of(labels, part))


def _is_of(labels: Mapping[str, str], part: str) -> bool:
    return labels.get(SERIES, "").partition("/")[0] == part


def _part(over: str, selector: str, labels: Sequence[tuple[str, str]], tag: str, seconds: int) -> str:
    name, matchers = split_selector(selector)
    where = ",".join(filter(None, (matchers, *(f"{key}={quoted(value)}" for key, value in labels))))
    vector = f"{over}_over_time({name}{{{where}}}[{seconds}s])"
    return f'label_replace({vector}, "{SERIES}", {quoted(tag)}, "", "")'
