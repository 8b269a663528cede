"""The queries that fetch what metric sets count, in PromQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from inference_rollouts.core.judging.arms import TELLING, Arm, Labels
from inference_rollouts.core.judging.metrics import SERIES, STARTED, Latency, MetricSet, Rate
from inference_rollouts.core.judging.promql import (
    label_name,
    quoted,
    quoted_pattern,
    quoted_words,
    split_selector,
)
from inference_rollouts.core.judging.raw_series import SCRAPED


@dataclass(frozen=True, slots=True)
class Query:
    """An instant query of raw cumulative series; its answer goes into a Snapshot under `key`."""

    key: str
    promql: str


def series(metric: Rate | Latency) -> Iterator[tuple[str, str]]:
    """Tag and selector of every series that a metric needs, preferred spellings first."""
    if isinstance(metric, Rate):
        parts = {"total": metric.total, "bad": metric.bad}
    else:
        parts = {"le": (*metric.histogram, *metric.otherwise)}
    for part, selectors in parts.items():
        for place, selector in enumerate(selectors):
            yield f"{metric.name}/{part}/{place}", selector


def queries(metric_set: MetricSet, canary: Arm, stable: Arm) -> tuple[Query, ...]:
    """The queries of one observation: one for each set that judges, for every raw series of both arms.

    Evaluate each at the tick's time (send it by POST: it may be long). Only exact metric names are used,
    so that Google Managed Prometheus answers it too. Raises ValueError when the arms are not two values
    of one label in one namespace.
    """
    return tuple(
        Query(key, _promql(each, each.arm_of(canary), each.arm_of(stable))) for key, each in keyed(metric_set)
    )


def keyed(metric_set: MetricSet) -> Iterator[tuple[str, MetricSet]]:
    """The sets that judge together, each with the key of its query."""
    yield "counts", metric_set
    yield from ((f"counts/{each.name}", each) for each in metric_set.beside)


def _promql(metric_set: MetricSet, canary: Arm, stable: Arm) -> str:
    if _but_for_value(canary) != _but_for_value(stable) or canary.value == stable.value:
        raise ValueError(f"{canary} and {stable} cannot be told apart by one label in one namespace")
    both = f"{label_name(canary.label)}=~{quoted_words(canary.value, stable.value)}"
    where = _matchers(_place(metric_set, canary), canary.process)
    parts = []
    if metric_set.started is not None:
        name, matchers = split_selector(metric_set.started)
        own = _joined(matchers, where) if canary.process else _joined(matchers, both, where)
        parts.append(_tagged(f"{name}{{{own}}}{_late(metric_set)}", STARTED))
    arms = _joined(both, where, _matchers(canary.request))
    for metric in metric_set.metrics:
        for tag, selector in series(metric):
            name, matchers = split_selector(selector)
            if isinstance(metric, Latency):
                name, matchers = f"{name}_bucket", _joined(matchers, f"le=~{_bounds_pattern(metric)}")
            parts.append(_tagged(_counted(metric_set, f"{name}{{{_joined(matchers, arms)}}}"), tag))
    return "\nor ".join(parts)


def _place(metric_set: MetricSet, arm: Arm) -> Labels:
    """The labels that series of an arm have, of processes and requests alike; a gateway may be elsewhere."""
    home = arm.home if metric_set.exporters != "gateways" else ()
    return (*((("namespace", arm.namespace),) if arm.namespace is not None else ()), *home)


def _but_for_value(arm: Arm) -> Arm:
    """What two arms must have in common to be asked for at once."""
    return replace(arm, value="", ports=())


def _counted(metric_set: MetricSet, vector: str) -> str:
    """The counters, or their growth where the store alone knows it."""
    over, late = metric_set.increase_over, _late(metric_set)
    return f"increase({vector}[{_duration(over)}]{late})" if over else f"{vector}{late}"


def _late(metric_set: MetricSet) -> str:
    return f" offset {_duration(metric_set.delay)}" if metric_set.delay else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{1000 * seconds:.0f}ms"


def load_query(metric_set: MetricSet, canary: Arm, stable: Arm, seconds: int) -> str:
    """The gauges of `load` of each pod of both arms, on average over the last `seconds`.

    Each sample's label SERIES is the place of its gauge in `load`. A server counts once, however many
    targets scrape it.
    """
    canary, stable = metric_set.arm_of(canary), metric_set.arm_of(stable)
    both = f"{label_name(canary.label)}=~{quoted_words(canary.value, stable.value)}"
    where = _matchers(_place(metric_set, canary))
    parts = []
    for place, selector in enumerate(metric_set.load):
        name, matchers = split_selector(selector)
        gauge = f"avg_over_time({name}{{{_joined(matchers, both, where)}}}[{seconds}s])"
        parts.append(_tagged(_once(gauge, metric_set.pod, canary, stable), str(place)))
    return "\nor ".join(parts)


def inside_query(metric_set: MetricSet, canary: Arm, stable: Arm, seconds: int) -> str:
    """The same gauges as raw series, with all their labels, and the start times of their processes.

    For who has to tell our own pods from others of the same names.
    """
    canary, stable = metric_set.arm_of(canary), metric_set.arm_of(stable)
    both = f"{label_name(canary.label)}=~{quoted_words(canary.value, stable.value)}"
    where = _matchers(_place(metric_set, canary))

    def vector(selector: str) -> str:
        name, matchers = split_selector(selector)
        return f"{name}{{{_joined(matchers, both, where)}}}"

    gauges = [
        _tagged(f"avg_over_time({vector(selector)}[{seconds}s])", str(place))
        for place, selector in enumerate(metric_set.load)
    ]
    started = [] if metric_set.started is None else [_tagged(vector(metric_set.started), STARTED)]
    return "\nor ".join(gauges + started)


def _once(gauge: str, pod: str, *arms: Arm) -> str:
    """A gauge by pod, of which each server counts once, whatever scrapes it."""
    by_pod = f"{arms[0].label},{pod}"
    by_target = ",".join(dict.fromkeys((arms[0].label, pod, *sorted({*SCRAPED, *TELLING}))))
    targets = f"sum by ({by_target}) ({gauge})"
    if not any(arm.ports for arm in arms):
        return f"max by ({by_pod}) ({targets})"
    return f"sum by ({by_pod}) (max by ({by_pod},{','.join(TELLING)}) ({targets}))"


def _tagged(expression: str, tag: str) -> str:
    return f'label_replace({expression}, "{SERIES}", {quoted(tag)}, "", "")'


def _matchers(*labels: Labels) -> str:
    return ",".join(f"{label_name(name)}={quoted(value)}" for pairs in labels for name, value in pairs)


def _joined(*matchers: str) -> str:
    return ",".join(filter(None, matchers))


def _bounds_pattern(metric: Latency) -> str:
    """All spellings of the bucket bounds that exporters use: `1`, `1.0`, `1e+06`."""
    spellings = {
        text
        for threshold in metric.thresholds
        for text in (repr(float(threshold)), f"{threshold:g}", f"{threshold:.15g}")
    }
    return quoted_pattern(*sorted(spellings), "+Inf")
