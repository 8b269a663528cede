"""Metric sets: which counters show whether a canary is worse.

A metric counts *bad* events among all: failed requests among requests (`rate`), or requests slower than
fixed thresholds among those of a histogram (`latency`). Users add their own with PromQL selectors. What
never reached a model server only its sender can count, so several sets may judge together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.arms import Arm, ArmTemplate
from inference_rollouts.core.judging.promql import LABEL, split_selector
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
_ONE_NAME = {"type": "string", "pattern": r"^[a-z][a-z0-9_]*$", "maxLength": 63}
MetricSetNames = Annotated[
    tuple[MetricName, ...],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=8),
    WithJsonSchema(
        {"anyOf": [_ONE_NAME, {"type": "array", "items": _ONE_NAME, "minItems": 1, "maxItems": 8}]}
    ),
]
"""One name of a metric set, or several."""


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
    """Of a rate: with `lower-is-worse` what is not counted as bad is."""
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
    otherwise: Annotated[tuple[Annotated[str, AfterValidator(_selector)], ...], BeforeValidator(_listed)] = ()
    """Another measure of the same, such as by token in place of by request, in its spellings. All pods of
    both arms are compared by it where one of them has no `histogram`. Default: there is none."""
    thresholds: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=16)]
    """Seconds; bounds of the histogram's buckets, some on each side of the median and in the tail."""
    slowdown: Annotated[float, Field(ge=0, le=1)] = 0.08
    """Times up to 1 + this longer are no regression either, whatever odds that is at a threshold. Default:
    0.08, two standard deviations of the difference between two nodes whose pace varies by 3 %."""

    _renamed = renamed(edges="thresholds")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.direction == "lower-is-worse":
            raise ValueError("`direction` is for rates: of a latency, higher is worse")
        if any(later <= earlier for earlier, later in pairwise(self.thresholds)):
            raise ValueError(f"thresholds {list(self.thresholds)} must rise")
        if self.objective and self.objective.threshold not in self.thresholds:
            raise ValueError(
                f"the objective's threshold must be one of the thresholds {list(self.thresholds)}"
            )
        return self


Metric = Annotated[Rate | Latency, Field(discriminator="kind")]


class MetricSet(Value):
    """Named metrics of one kind of exporter, and the sets that judge `beside` it.

    `errors`, `latency`, `metrics` and `load` are its own; `judged` are the metrics of all.
    """

    name: MetricName
    """The file's name, by which plans choose the set."""
    description: str = ""
    """What it is for."""
    pod: Label = "pod"
    """The label that names a sample's pod."""
    exporters: Literal["servers", "pickers", "gateways"] = "servers"
    """Whose metrics these are. Of the model servers and the endpoint pickers of a pool the cluster knows the
    pods, and others in the metrics are not counted; replicas of gateways are told apart by `pod` alone."""
    arm: ArmTemplate | None = None
    """How these exporters call a pool. Default: by the label `inference_pool` that it got when scraped."""
    started: Annotated[str, AfterValidator(_selector)] | None = "process_start_time_seconds"
    """The series of the processes' start times, Unix seconds; null: there is none, so that a restart is only
    known by counters that fall, and leaves its window uncounted."""
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
    delay: Seconds = 0.0
    """How much later than `scrape_delay` its samples are visible. What is judged now happened then."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """By which the weights of its metrics are multiplied where it judges with other sets."""
    guardrail_only: bool = False
    """Whether it may only raise alarms, by a storm or an objective: it compares nothing, and a step passes
    without it."""
    increase_over: Annotated[Seconds, Field(gt=0)] | None = None
    """Where the store keeps no counters but what was counted in a time: that time, in seconds."""
    beside: tuple[MetricSet, ...] = ()
    """What judges together with it; plans say so, not files."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [metric.name for metric in self.judged]
        if len(set(names)) < len(names):
            raise ValueError("two metrics have the same name")
        for name, kind in ((self.errors, Rate), (self.latency, Latency)):
            if name is not None and not any(m.name == name and isinstance(m, kind) for m in self.metrics):
                raise ValueError(f"{name!r} must be a {kind.__name__.lower()} metric of this set")
        if not any(metric.weight for metric in self.metrics):
            raise ValueError("at least one metric needs a weight above 0")
        if self.started is None and self.exporters != "gateways":
            raise ValueError("only gateways may have no `started`: pods are known by when they began")
        if self.increase_over and not self.guardrail_only:
            raise ValueError("what has `increase_over` is not counted exactly: set `guardrail_only: true`")
        return self

    def __getitem__(self, name: str) -> Rate | Latency:
        return next(metric for metric in self.judged if metric.name == name)

    @property
    def sets(self) -> tuple[MetricSet, ...]:
        """It and those beside it."""
        return (self, *self.beside)

    @property
    def judged(self) -> tuple[Rate | Latency, ...]:
        """The metrics of all sets."""
        return tuple(metric for each in self.sets for metric in each.metrics)

    @property
    def compared(self) -> tuple[Rate | Latency, ...]:
        """Those by which the arms are compared."""
        sets = (each for each in self.sets if not each.guardrail_only)
        return tuple(metric for each in sets for metric in each.metrics if metric.weight)

    @property
    def sent(self) -> str:
        """The metric that counts requests nearest to where they are split: a gateway's, if there is one."""
        gateways = (each for each in self.sets if each.exporters == "gateways" and not each.guardrail_only)
        return next(gateways, self).errors

    def arm_of(self, arm: Arm) -> Arm:
        """What these exporters call an arm. Its ports are those of model servers alone."""
        ports = arm.ports if self.exporters == "servers" else ()
        return replace(self.arm.of(arm) if self.arm else arm, ports=ports, home=arm.home)


def judged_together(sets: Sequence[MetricSet]) -> MetricSet:
    """The first set with the others beside it; their metrics get the names of their sets before their own.

    Raises PlanInvalid when names are not unique then, or the first cannot be first.
    """
    first, *others = (_weighed(each) for each in sets)
    if first.exporters == "gateways" or first.guardrail_only or first.delay:
        raise PlanInvalid(
            f"The metric set {first.name!r} cannot be first: name one of the model servers, or of the "
            "endpoint pickers, before it."
        )
    names = [each.name for each in sets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PlanInvalid(f"The metric set {twice[0]!r} is named more than once.")
    if not others:
        return first
    return _validated(first.to_json() | {"beside": [_qualified(each).to_json() for each in others]})


def _weighed(metric_set: MetricSet) -> MetricSet:
    metrics = tuple(
        metric.model_copy(update={"weight": metric.weight * metric_set.weight})
        for metric in metric_set.metrics
    )
    return metric_set.model_copy(update={"metrics": metrics, "weight": 1.0})


def _qualified(metric_set: MetricSet) -> MetricSet:
    def name(own: str | None) -> str | None:
        return own and f"{metric_set.name}_{own}"

    title = metric_set.name.replace("_", " ")
    metrics = tuple(
        metric.model_copy(update={"name": name(metric.name), "title": f"{metric.label} ({title})"})
        for metric in metric_set.metrics
    )
    names = {"errors": name(metric_set.errors), "latency": name(metric_set.latency)}
    return metric_set.model_copy(update={"metrics": metrics, **names})


def parse_metric_set(value: Any) -> MetricSet:
    """A metric set from parsed YAML; raises PlanInvalid with one phrase per mistake."""
    if isinstance(value, Mapping) and value.get("beside"):
        raise PlanInvalid("The metric set is invalid: the plan names what judges `beside` it (`metrics`).")
    return _validated(value)


def _validated(value: Any) -> MetricSet:
    try:
        return MetricSet.model_validate(value)
    except ValidationError as error:
        raise PlanInvalid(f"The metric set is invalid: {mistakes(error)}.") from error
