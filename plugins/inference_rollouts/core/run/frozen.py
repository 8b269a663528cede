"""A run's plan, metric set and manifests as preflight froze them: all that later tasks may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan, parse_plan
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.manifests import digest


@dataclass(frozen=True, slots=True)
class Frozen:
    """One run, decided: `run` identifies it to the cluster, `gateway` is the one whose word on pools and
    routes counts, `targets` are the objects whose weights move. `stable_pods` is how many pods carried all
    traffic at preflight; `shared` names what sends traffic to the stable pool too and is not moved;
    `previews` are routes that exist from when the canary is ready until the rollout ends.
    """

    run: str
    plan: Plan
    gateway: str
    targets: tuple[Target, ...]
    metric_set: MetricSet
    manifests: tuple[dict[str, Any], ...]
    stable_pods: int = 0
    shared: tuple[str, ...] = ()
    previews: tuple[dict[str, Any], ...] = ()

    @property
    def pool_plan(self) -> PoolPlan:
        """The plan of a rollout that brings a pool of its own."""
        if not isinstance(self.plan, PoolPlan):
            raise PlanInvalid(f"Plan {self.plan.name} brings no pool of its own.")
        return self.plan

    @property
    def adapter_plan(self) -> AdapterPlan:
        """The plan of a rollout of an adapter."""
        if not isinstance(self.plan, AdapterPlan):
            raise PlanInvalid(f"Plan {self.plan.name} rolls out no adapter.")
        return self.plan

    def to_json(self) -> dict[str, Any]:
        value = {
            "run": self.run,
            "plan": self.plan.model_dump(mode="json"),
            "gateway": self.gateway,
            "targets": [asdict(target) for target in self.targets],
            "metric_set": self.metric_set.model_dump(mode="json"),
            "manifests": list(self.manifests),
            "stable_pods": self.stable_pods,
            "shared": list(self.shared),
            "previews": list(self.previews),
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
            targets=tuple(Target(**target) for target in value["targets"]),
            metric_set=MetricSet.model_validate(value["metric_set"]),
            manifests=tuple(value["manifests"]),
            stable_pods=value["stable_pods"],
            shared=tuple(value["shared"]),
            previews=tuple(value["previews"]),
        )
