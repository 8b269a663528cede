"""A run's plan, metric set and manifests as preflight froze them: all that later tasks may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import PlanInvalid
from .manifests import digest
from .metrics import MetricSet
from .plan import Plan, parse_plan


@dataclass(frozen=True, slots=True)
class Frozen:
    """One run, decided: `run` identifies it to the cluster, `gateway` is the one whose word counts."""

    run: str
    plan: Plan
    gateway: str
    metric_set: MetricSet
    manifests: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        value = {
            "run": self.run,
            "plan": self.plan.model_dump(mode="json"),
            "gateway": self.gateway,
            "metric_set": self.metric_set.model_dump(mode="json"),
            "manifests": list(self.manifests),
        }
        return {**value, "digest": digest(value)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Frozen:
        """Raises PlanInvalid when the value is not what preflight froze."""
        content = {key: item for key, item in value.items() if key != "digest"}
        if digest(content) != value.get("digest"):
            raise PlanInvalid("The frozen plan of this run was changed after preflight; start a new run.")
        return cls(
            run=value["run"],
            plan=parse_plan(value["plan"]),
            gateway=value["gateway"],
            metric_set=MetricSet.model_validate(value["metric_set"]),
            manifests=tuple(value["manifests"]),
        )
