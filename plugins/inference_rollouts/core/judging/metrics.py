"""Metric sets: which counters show whether a canary is worse, and the queries that fetch them.

A metric counts *bad* events among all: failed requests among requests (`rate`), or requests slower than
fixed thresholds among those of a histogram (`latency`). Users add their own with PromQL selectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.promql import LABEL, label_name, quoted, quoted_pattern, split_selector
from inference_rollouts.core.values import Value, mistakes, renamed

SERIES = "series"
"""The label that says, in a query's answer, which series of the metric set a sample belongs to."""
STARTED = "started"
"""The value of that label for the start times of the processes."""


def _selector(text: str) -> str:
    split_selector(text)
    return text.strip()


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Selectors = Annotated[
    tuple[Annotated[str, AfterValidator(_selector)], ...], BeforeValidator(_listed), Field(min_length=1)
]
"""One selector, or several spellings of the same series: each pod's first that exists counts."""
Share = Annotated[float, Field(gt=0, lt=1)]
Label = Annotated[str, Field(pattern=f"^{LABEL}$")]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)]


class Objective(Value):
    """An absolute limit: at most this share of events may be bad (for a latency: slower than `threshold`)."""

    share: Share
    """The largest bad share, 0 to 1."""
    threshold: float | None = None
    """Of a latency: which of its thresholds, in seconds."""

    _renamed = renamed(edge="threshold")


class _Metric(Value):
    name: MetricName
    title: str = ""
    """What people read. Default: the name."""
    direction: Literal["higher-is-worse", "lower-is-worse"] = "higher-is-worse"
    """With `lower-is-worse` what is not counted as bad is."""
    objective: Objective | None = None
    """An absolute limit beside the comparison. Default: none."""
    tolerance: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Odds up to 1 + this are no regression."""
    weight: Annotated[float, Field(ge=0)] = 1.0
    """Its part in the mixture of evidence; 0: shown, not judged."""
    negligible: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """A bad share below which nobody cares: promotion passes there. Default: there is none."""
    optional: bool = False
    """Whether it may be missing."""

    @property
    def label(self) -> str:
        """What people read."""
        return self.title or self.name.replace("_", " ")


class Rate(_Metric):
    """Bad events among all: two counters."""

    kind: Literal["rate"] = "rate"
    total: Selectors
    """The counter of all events."""
    bad: Selectors
    """The counter of bad ones."""

    @property
    def thresholds(self) -> tuple[float | None, ...]:
        return (None,)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.objective and self.objective.threshold is not None:
            raise ValueError("the objective of a rate has no threshold")
        return self


class Latency(_Metric):
    """Events slower than each of a few thresholds, by the buckets of a histogram."""

    kind: Literal["latency"] = "latency"
    histogram: Selectors
    """The histogram, named without `_bucket`."""
    thresholds: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=16)]
    """Seconds; bounds of the histogram's buckets, some on each side of the median and in the tail."""

    _renamed = renamed(edges="thresholds")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(later <= earlier for earlier, later in pairwise(self.thresholds)):
            raise ValueError(f"thresholds {list(self.thresholds)} must rise")
        if self.objective and self.objective.threshold not in self.thresholds:
            raise ValueError(
                f"the objective's threshold must be one of the thresholds {list(self.thresholds)}"
            )
        return self


Metric = Annotated[Rate | Latency, Field(discriminator="kind")]


class MetricSet(Value):
    """Named metrics judged together."""

    name: MetricName
    """The file's name, by which plans choose the set."""
    description: str = ""
    """What it is for."""
    pod: Label = "pod"
    """The label that names a sample's pod."""
    exporters: Literal["servers", "pickers"] = "servers"
    """Whose pods export them: the model servers of a pool, or its endpoint pickers. Pods in the metrics that
    are none of these are not counted."""
    started: Annotated[str, AfterValidator(_selector)] = "process_start_time_seconds"
    """The series of the processes' start times, Unix seconds."""
    errors: MetricName
    """The metric that counts requests and failures, shown first."""
    latency: MetricName | None = None
    """The latency that is shown first."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=50)]
    """What is judged or shown."""
    load: Annotated[
        tuple[Annotated[str, AfterValidator(_selector)], ...], BeforeValidator(_listed), Field(max_length=8)
    ] = ()
    """Gauges whose sum is the number of requests inside a server, for capacity."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ValueError("two metrics have the same name")
        for name, kind in ((self.errors, Rate), (self.latency, Latency)):
            if name is not None and not any(m.name == name and isinstance(m, kind) for m in self.metrics):
                raise ValueError(f"{name!r} must be a {kind.__name__.lower()} metric of this set")
        if not any(metric.weight for metric in self.metrics):
            raise ValueError("at least one metric needs a weight above 0")
        return self

    def __getitem__(self, name: str) -> Rate | Latency:
        return next(metric for metric in self.metrics if metric.name == name)


def parse_metric_set(value: Any) -> MetricSet:
    """A metric set from parsed YAML; raises PlanInvalid with one phrase per mistake."""
    try:
        return MetricSet.model_validate(value)
    except ValidationError as error:
        raise PlanInvalid(f"The metric set is invalid: {mistakes(error)}.") from error


Labels = tuple[tuple[str, str], ...]
"""Names and values, all of which a series must have."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of the comparison: the series whose `label` has `value` (in `namespace`, if given).

    Two adapters share the process that counts them, so its start time has no such label: `process` are the
    labels by which it is known instead (put on when scraping), `request` further ones of its counters.
    """

    label: str
    value: str
    namespace: str | None = None
    process: Labels = ()
    request: Labels = ()


@dataclass(frozen=True, slots=True)
class Query:
    """An instant query of raw cumulative series; its answer goes into a Snapshot under `key`."""

    key: str
    promql: str


def series(metric: Rate | Latency) -> Iterator[tuple[str, str]]:
    """Tag and selector of every series that a metric needs, preferred spellings first."""
    parts = (
        {"total": metric.total, "bad": metric.bad} if isinstance(metric, Rate) else {"le": metric.histogram}
    )
    for part, selectors in parts.items():
        for place, selector in enumerate(selectors):
            yield f"{metric.name}/{part}/{place}", selector


def queries(metric_set: MetricSet, canary: Arm, stable: Arm) -> tuple[Query, ...]:
    """The queries of one observation: every raw series of both arms, in one PromQL expression.

    Evaluate each at the tick's time (send it by POST: it may be long). Only exact metric names are used,
    so that Google Managed Prometheus answers it too. Raises ValueError when the arms are not two values
    of one label in one namespace.
    """
    if replace(canary, value="") != replace(stable, value="") or canary.value == stable.value:
        raise ValueError(f"{canary} and {stable} cannot be told apart by one label in one namespace")
    both = f"{label_name(canary.label)}=~{quoted_pattern(canary.value, stable.value)}"
    where = _matchers(() if canary.namespace is None else (("namespace", canary.namespace),), canary.process)
    name, matchers = split_selector(metric_set.started)
    own = _joined(matchers, where) if canary.process else _joined(matchers, both, where)
    parts = [_tagged(f"{name}{{{own}}}", STARTED)]
    arms = _joined(both, where, _matchers(canary.request))
    for metric in metric_set.metrics:
        for tag, selector in series(metric):
            name, matchers = split_selector(selector)
            if isinstance(metric, Latency):
                name, matchers = f"{name}_bucket", _joined(matchers, f"le=~{_bounds_pattern(metric)}")
            parts.append(_tagged(f"{name}{{{_joined(matchers, arms)}}}", tag))
    return (Query("counts", "\nor ".join(parts)),)


def load_query(metric_set: MetricSet, canary: Arm, stable: Arm, seconds: int) -> str:
    """The gauges of `load` of each pod of both arms, on average over the last `seconds`.

    Each sample's label SERIES is the place of its gauge in `load`.
    """
    both = f"{label_name(canary.label)}=~{quoted_pattern(canary.value, stable.value)}"
    where = _matchers(() if canary.namespace is None else (("namespace", canary.namespace),))
    parts = []
    for place, selector in enumerate(metric_set.load):
        name, matchers = split_selector(selector)
        gauge = f"avg_over_time({name}{{{_joined(matchers, both, where)}}}[{seconds}s])"
        parts.append(_tagged(f"sum by ({canary.label},{metric_set.pod}) ({gauge})", str(place)))
    return "\nor ".join(parts)


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
