"""The few fields of a plan that people change for one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan, parse_plan, validated
from inference_rollouts.core.values import Model, ModelName, Percent, Text

HARDWARE = ("accelerator", "machine_type")


class Parameters(Model):
    """What one run may change; None keeps the plan's own value."""

    stable: ModelName | None = None
    canary: ModelName | None = None
    weights: Annotated[tuple[Percent, ...], Field(min_length=1)] | None = None
    bake: Seconds | None = None


class PoolParameters(Parameters):
    """Of a rollout to a second pool."""

    image: Text | None = None
    model: Text | None = None
    accelerator: Text | None = None
    machine_type: Text | None = None


class AdapterParameters(Parameters):
    """Of a rollout of an adapter."""

    path: Text | None = None


def apply_parameters(plan: Plan, params: Mapping[str, Any]) -> Plan:
    """The plan of one run. Raises PlanInvalid when the parameters, or the result, are not valid.

    Given weights replace the plan's; each keeps the bake time of the plan's step at its place. A run may
    use fewer steps than its plan has, since the DAG has as many as the plan, but not more.
    """
    what = "The parameters are invalid"
    kind = AdapterParameters if isinstance(plan, AdapterPlan) else PoolParameters
    given: Parameters = validated(TypeAdapter(kind), dict(params), what)
    changes = given.model_dump(mode="json", exclude_none=True, exclude={"weights", "bake", *HARDWARE})
    value = plan.model_dump(mode="json") | {"steps": _steps(plan, given)}
    if given.bake is not None and value.get("mirror"):
        value["mirror"]["bake"] = given.bake
    if isinstance(plan, PoolPlan) and isinstance(given, PoolParameters):
        nodes = plan.nodes.on(given.accelerator, given.machine_type)
        value["nodes"] = nodes.model_dump(mode="json")
    for key, change in changes.items():
        (value if key in value else value["workload"])[key] = change
    try:
        return parse_plan(value)
    except PlanInvalid as error:
        raise PlanInvalid(str(error).replace("The plan is invalid", what, 1)) from error


def _steps(plan: Plan, given: Parameters) -> list[dict[str, Any]]:
    if given.weights and len(given.weights) > len(plan.steps):
        raise PlanInvalid(
            f"The parameters are invalid: weights has {len(given.weights)} steps, "
            f"this plan's DAG has {len(plan.steps)}; add steps to the plan."
        )
    weights = given.weights or tuple(step.weight for step in plan.steps)
    return [
        {"weight": weight, "bake": step.bake if given.bake is None else given.bake}
        for weight, step in zip(weights, plan.steps, strict=False)
    ]
