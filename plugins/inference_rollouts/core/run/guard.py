"""What a rollout leaves on its claim for those who watch it without plan or Airflow, and how they read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from inference_rollouts.core.judging.arms import Arm, as_ports
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.policy import Guardrails
from inference_rollouts.core.judging.queries import Query, queries
from inference_rollouts.core.routing.claim import Guard
from inference_rollouts.core.run.frozen import Frozen


@dataclass(frozen=True, slots=True)
class StormWatch:
    """The error metrics of both arms, and from when on errors are a storm."""

    metric_set: MetricSet
    canary: Arm
    stable: Arm
    limits: Guardrails

    @property
    def queries(self) -> tuple[Query, ...]:
        """Those of one observation."""
        return queries(self.metric_set, self.canary, self.stable)


def guard_of(frozen: Frozen) -> Guard:
    """The guard of a run."""
    plan, analysis = frozen.plan, frozen.plan.analysis
    watch = storm_watch_of(frozen)
    return Guard(
        stable_pool=plan.pool_of(plan.stable),
        canary_pool=plan.pool_of(plan.canary),
        pods=frozen.stable_pods,
        metrics=watch.metric_set.model_dump(mode="json"),
        canary=asdict(watch.canary),
        stable=asdict(watch.stable),
        limits=analysis.guardrails.model_dump(mode="json"),
        interval=analysis.interval,
        scrape_delay=analysis.scrape_delay,
    )


def storm_watch_of(frozen: Frozen) -> StormWatch:
    """How a run is watched for storms: by the error metrics alone, of all sets that tell of now."""
    plan, first = frozen.plan, frozen.metric_set
    others = tuple(_errors_alone(each) for each in first.beside if not (each.delay or each.increase_over))
    watched = _errors_alone(first).model_copy(update={"beside": others})
    return StormWatch(watched, frozen.arm(plan.canary), frozen.arm(plan.stable), plan.analysis.guardrails)


def _errors_alone(metric_set: MetricSet) -> MetricSet:
    errors = metric_set[metric_set.errors].model_copy(update={"weight": 1.0})
    rest = {"latency": None, "load": (), "description": "", "beside": ()}
    return metric_set.model_copy(update={"metrics": (errors,), **rest})


def read_storm_watch(guard: Guard) -> StormWatch | None:
    """The same, from a claim; None where it says nothing, or nothing that this version understands."""
    if guard.metrics is None:
        return None
    try:
        watch = StormWatch(
            MetricSet.model_validate(guard.metrics),
            _arm(guard.canary),
            _arm(guard.stable),
            Guardrails.model_validate(guard.limits),
        )
        return watch if watch.queries else None  # raises ValueError where the arms cannot be told apart
    except (ValidationError, TypeError, ValueError, KeyError):
        return None


def limits_of(guard: Guard | None) -> Guardrails:
    """The limits on a claim; the defaults where it has none."""
    watch = read_storm_watch(guard) if guard else None
    return watch.limits if watch else Guardrails()


def _arm(value: Mapping[str, Any]) -> Arm:
    labels = {
        name: tuple((str(k), str(v)) for k, v in value.get(name, ()))
        for name in ("process", "request", "home")
    }
    namespace, ports = value.get("namespace"), as_ports(value.get("ports", ()))
    if not (namespace is None or isinstance(namespace, str)):
        raise TypeError(f"a namespace that is none: {namespace!r}")
    return Arm(str(value["label"]), str(value["value"]), namespace, **labels, ports=ports)
