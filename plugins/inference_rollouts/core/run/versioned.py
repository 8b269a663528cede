"""The plan of one run, with the version that was chosen in all its places."""

from __future__ import annotations

from typing import Any, assert_never

from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan, parse_plan
from inference_rollouts.core.versions.version import PINNED, Version, canary_name, filled


def with_version(plan: Plan, version: Version) -> Plan:
    """A plan that names what is new. Raises PlanInvalid where the version makes no valid names."""
    value: dict[str, Any] = plan.model_dump(mode="json")
    value |= {"canary": canary_name(plan.canary, version), "versions": None}
    match plan:
        case PoolPlan():
            value["workload"]["image"] = filled(plan.workload.image, version)
        case AdapterPlan():
            value["path"] = filled(plan.path, version)
        case _:
            assert_never(plan)
    return parse_plan(value)


def needs_digest(plan: Plan) -> bool:
    """Whether only a version with a digest will do: an image always, an adapter if its path has it."""
    return PINNED in plan.path if isinstance(plan, AdapterPlan) else True
