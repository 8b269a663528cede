"""The few fields of a plan that people change for one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.nodes.provisioners import Nodes
from inference_rollouts.core.plan.plan import Kind, Plan, parse_plan, validated
from inference_rollouts.core.values import SAID, Model, ModelName, NewModelName, Percent, Text
from inference_rollouts.core.versions.version import DIGEST, NAME

OVERRIDE = "override_windows"
VERSION = "version"

_NODES: TypeAdapter[Nodes] = TypeAdapter(Nodes)


class Parameters(Model):
    """What one run may change; None keeps the plan's own value."""

    stable: ModelName | None = None
    canary: NewModelName | None = None
    weights: Annotated[tuple[Percent, ...], Field(min_length=1)] | None = None
    bake: Seconds | None = None
    override_windows: Annotated[str, Field(pattern=SAID, max_length=500)] | None = None
    """Why the run may move outside of its plan's windows; that changes nothing of its plan."""
    version: Annotated[str, Field(pattern=rf"^{NAME}(@{DIGEST})?$")] | None = None
    """The version to roll out, in place of the newest that may be."""
    dry_run: bool = False
    """Whether the run only says what it would do; that changes nothing of its plan."""

    def apply_to(self, plan: dict[str, Any]) -> None:
        """Change the JSON value of a plan. Raises PlanInvalid when it cannot be changed so."""
        if self.version and not plan.get("versions"):
            raise PlanInvalid("The parameters are invalid: version: this plan names what is new itself.")
        for name in ("stable", "canary"):
            plan[name] = getattr(self, name) or plan[name]
        plan["steps"] = self._steps(plan["steps"])

    def _steps(self, planned: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.weights and len(self.weights) > len(planned):
            raise PlanInvalid(
                f"The parameters are invalid: weights has {len(self.weights)} steps, "
                f"this plan's DAG has {len(planned)}; add steps to the plan."
            )
        weights = self.weights or tuple(step["weight"] for step in planned)
        return [
            {"weight": weight, "bake": step["bake"] if self.bake is None else self.bake}
            for weight, step in zip(weights, planned, strict=False)
        ]


class PoolParameters(Parameters):
    """Of a rollout to a second pool."""

    image: Text | None = None
    model: Text | None = None
    accelerator: Text | None = None
    machine_type: Text | None = None

    def apply_to(self, plan: dict[str, Any]) -> None:
        super().apply_to(plan)
        for name in ("image", "model"):
            plan["workload"][name] = getattr(self, name) or plan["workload"][name]
        if self.bake is not None and plan.get("mirror"):
            plan["mirror"]["bake"] = self.bake
        nodes = _NODES.validate_python(plan["nodes"])
        # The form's default is the accelerator that is tried first: it changes none of those after it.
        accelerator = None if self.accelerator == nodes.accelerator else self.accelerator
        plan["nodes"] = nodes.on(accelerator, self.machine_type).model_dump(mode="json")


class AdapterParameters(Parameters):
    """Of a rollout of an adapter."""

    path: Text | None = None

    def apply_to(self, plan: dict[str, Any]) -> None:
        super().apply_to(plan)
        plan["path"] = self.path or plan["path"]


def override_of(params: Mapping[str, Any]) -> str:
    """Why windows and blackouts do not hold for one run; empty where they do."""
    return str(params.get(OVERRIDE) or "")


_PARAMETERS: Mapping[Kind, type[Parameters]] = {
    Kind.NODE: PoolParameters,
    Kind.BASE_MODEL: PoolParameters,
    Kind.LORA: AdapterParameters,
}


def apply_parameters(plan: Plan, params: Mapping[str, Any]) -> Plan:
    """The plan of one run. Raises PlanInvalid when the parameters, or the result, are not valid.

    Given weights replace the plan's; each keeps the bake time of the plan's step at its place. A run may
    use fewer steps than its plan has, since the DAG has as many as the plan, but not more.
    """
    what = "The parameters are invalid"
    given: Parameters = validated(TypeAdapter(_PARAMETERS[plan.kind]), dict(params), what)
    value = plan.model_dump(mode="json")
    given.apply_to(value)
    try:
        return parse_plan(value)
    except PlanInvalid as error:
        raise PlanInvalid(str(error).replace("The plan is invalid", what, 1)) from error
