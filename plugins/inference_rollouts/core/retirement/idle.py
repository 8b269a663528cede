"""Since when has nothing run in a pool, or for an adapter: what Prometheus is asked, and what it means."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.judging.arms import TELLING, Arm, Ports, server_in, server_names
from inference_rollouts.core.judging.metrics import SERIES, MetricSet
from inference_rollouts.core.judging.promql import quoted, split_selector
from inference_rollouts.core.serving.engines import vllm

INSIDE, ANSWERED, ALIVE = "inside", "answered", "alive"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen at Unix time `at`: why it is not quiet (empty: it is), and counts of requests so far."""

    at: float
    busy: str
    answered: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clock:
    """Since when nothing has been seen to run; None while something does, or while nobody knows."""

    since: float | None = None
    last: Observation | None = None

    def tick(self, observation: Observation) -> Clock:
        """The clock after an observation: it starts anew with every sign of a request, and without data."""
        before = None if self.last is None or self.last.busy else self.last.answered
        answered = before is not None and before != observation.answered
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
    """What the processes of an arm exported in the last `seconds`.

    Requests inside (no gauge counts those of an adapter), requests so far, and that they were there at all.
    """
    place = (("namespace", arm.namespace),) if arm.namespace else ()
    own = ((arm.label, arm.value),)
    process = (*place, *(arm.process or own))
    assert metric_set.started  # only gateways have none
    parts = [_part("max", "last", metric_set.started, process, metric_set.pod, ALIVE, seconds)]
    for number, gauge in enumerate(() if arm.process else metric_set.load or vllm.LOAD_GAUGES):
        each = (metric_set.pod, *(TELLING if arm.ports else ()))
        parts.append(_part("sum", "max", gauge, process, ",".join(each), f"{INSIDE}/{number}", seconds))
    requests = metric_set[metric_set.errors]
    for number, counter in enumerate(getattr(requests, "total", ())):
        labels = (*process, *own) if arm.process else process
        parts.append(_part("sum", "last", counter, labels, metric_set.pod, f"{ANSWERED}/{number}", seconds))
    return "\nor ".join(parts)


def of_pods(samples: Sequence[Mapping[str, Any]], pod_label: str, own: Collection[str]) -> list[Any]:
    """Those of our own pods: in one store others may have the same names for pools and adapters."""
    return [sample for sample in samples if sample["metric"].get(pod_label, "") in own]


def observed_pool(
    at: float, samples: Sequence[Mapping[str, Any]], pod_label: str, pods: set[str], ports: Ports = ()
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
    return Observation(at, "", dict(_values(samples, pod_label, ANSWERED)))


def observed_adapter(
    at: float, samples: Sequence[Mapping[str, Any]], pod_label: str, pool: str
) -> Observation:
    """An adapter observed: nothing is known of it while the pool's endpoint picker says nothing."""
    if not list(_values(samples, pod_label, ALIVE)):
        return Observation(at, f"Prometheus has no data of the endpoint picker of {pool}")
    return Observation(at, "", dict(_values(samples, pod_label, ANSWERED)))


def _values(
    samples: Sequence[Mapping[str, Any]], pod_label: str, part: str
) -> Iterator[tuple[tuple[str, str], float]]:
    for sample in samples:
        labels = sample["metric"]
        if _is_of(labels, part):
            yield (labels[SERIES], labels.get(pod_label, "")), float(sample["value"][1])


def _labels(samples: Sequence[Mapping[str, Any]], part: str) -> Iterator[Mapping[str, str]]:
    return (sample["metric"] for sample in samples if _is_of(sample["metric"], part))


def _is_of(labels: Mapping[str, str], part: str) -> bool:
    return labels.get(SERIES, "").partition("/")[0] == part


def _part(
    total: str, over: str, selector: str, labels: Sequence[tuple[str, str]], pod: str, tag: str, seconds: int
) -> str:
    name, matchers = split_selector(selector)
    where = ",".join(filter(None, (matchers, *(f"{key}={quoted(value)}" for key, value in labels))))
    vector = f"{over}_over_time({name}{{{where}}}[{seconds}s])"
    return f'label_replace({total} by ({pod}) ({vector}), "{SERIES}", {quoted(tag)}, "", "")'
