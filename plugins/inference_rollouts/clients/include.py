"""The files people edit: plans, metric sets and manifest templates in include/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.metrics import MetricSet, parse_metric_set
from inference_rollouts.core.plan.plan import Plan, parse_plan


def include_dir() -> Path:
    """`$INFERENCE_ROLLOUTS_INCLUDE`, else include/ beside plugins/."""
    default = Path(__file__).resolve().parents[3] / "include"
    return Path(os.environ.get("INFERENCE_ROLLOUTS_INCLUDE", default))


def plan_files() -> list[Path]:
    return sorted((include_dir() / "rollouts").glob("*.yaml"))


def load_plan(path: Path) -> Plan:
    """Raises PlanInvalid, naming the file, which must be named after its plan."""
    try:
        plan = parse_plan(yaml.safe_load(path.read_text()))
        if plan.name != path.stem:
            raise PlanInvalid(f"the file of plan {plan.name!r} must be named {plan.name}.yaml.")
        return plan
    except (PlanInvalid, yaml.YAMLError, OSError) as error:
        raise PlanInvalid(f"{path.name}: {error}") from error


def load_metric_set(name: str) -> MetricSet:
    """Raises PlanInvalid when there is no such metric set or it is not valid."""
    path = include_dir() / "metrics" / f"{name}.yaml"
    try:
        return parse_metric_set(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise PlanInvalid(f"There is no metric set {name!r}; known are {known}.") from None


def load_manifests() -> list[dict[str, Any]]:
    """The manifest templates, in the order of their file names."""
    files = sorted((include_dir() / "manifests").glob("*.yaml"))
    return [doc for file in files for doc in yaml.safe_load_all(file.read_text()) if doc]
