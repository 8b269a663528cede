"""The trigger form: what one run may change of its plan.

Of JSON schema it has the types alone, by which Airflow draws the form. What else must hold of a value
preflight checks, since it can say in the note what is wrong: a value that breaks its schema makes Airflow
start no run, and its form says "Bad Request".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan
from inference_rollouts.core.run.parameters import OVERRIDE, VERSION

_TEXT = {"type": "string"}
_OPTIONAL_TEXT = {"type": ["null", "string"]}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A field of the form: its default and what else is true of its values (JSON schema)."""

    title: str
    description: str
    default: Any
    schema: Mapping[str, Any] = field(default_factory=dict)


Form = dict[str, Parameter]


def form_of(plan: Plan) -> Form:
    """What one run may change of its plan."""
    return _pool_form(plan) if isinstance(plan, PoolPlan) else _adapter_form(plan)


def _pool_form(plan: PoolPlan) -> Form:
    work = plan.workload
    return {
        "stable": Parameter("Stable pool", "What serves today.", plan.stable, _TEXT),
        "canary": Parameter("Canary pool", "The new pool's name.", plan.canary, _TEXT),
        "image": Parameter("Image", "The new pool's server image.", work.image, _TEXT),
        "model": Parameter("Model", "What the new servers load.", work.model, _TEXT),
        "accelerator": Parameter(
            "Accelerator",
            "What the new pool's nodes have, such as nvidia-l4.",
            plan.nodes.accelerator,
            _OPTIONAL_TEXT,
        ),
        "machine_type": Parameter(
            "Machine type",
            "Of the new nodes. Empty: as planned, or any that has another accelerator.",
            None,
            _OPTIONAL_TEXT,
        ),
        **_steps_form(plan),
    }


def _adapter_form(plan: AdapterPlan) -> Form:
    return {
        "stable": Parameter("Stable adapter", "What serves today.", plan.stable, _TEXT),
        "canary": Parameter("Canary adapter", "The new one's name.", plan.canary, _TEXT),
        "path": Parameter("Path", "Where the servers find the adapter.", plan.path, _TEXT),
        **_steps_form(plan),
    }


def _steps_form(plan: Plan) -> Form:
    weights = [step.weight for step in plan.steps]
    bakes = ", ".join(format_duration(step.bake) for step in plan.steps)
    return {
        "weights": Parameter(
            "Weights (%)",
            f"The canary's share, step by step, rising to 100. At most {len(weights)} steps.",
            weights,
            {"type": "array", "items": {"type": "number"}},
        ),
        "bake": Parameter(
            "Bake time",
            f"How long each step must look good, such as 90s or 5m. Empty: as planned ({bakes}).",
            None,
            _OPTIONAL_TEXT,
        ),
        "dry_run": Parameter(
            "Dry run", "Only check all of it and say what would be done.", False, {"type": "boolean"}
        ),
        **_version_form(plan),
        **_override_form(plan),
    }


def _version_form(plan: Plan) -> Form:
    """Only where there are versions to choose from."""
    if plan.versions is None:
        return {}
    return {
        VERSION: Parameter(
            "Version",
            "The one to roll out, NAME or NAME@sha256:... Empty: the newest that may be.",
            None,
            _OPTIONAL_TEXT,
        )
    }


def _override_form(plan: Plan) -> Form:
    """Only where there is something to override."""
    if not (plan.windows or plan.blackouts or plan.calendars):
        return {}
    return {
        OVERRIDE: Parameter(
            "Outside of windows, because",
            "A reason, for the report, lets this run move at any time. Empty: windows and blackouts hold.",
            None,
            _OPTIONAL_TEXT,
        )
    }
