"""The files people edit: plans, metric sets, manifest templates and calendars.

They are in `$INFERENCE_ROLLOUTS_INCLUDE`, else in include/ beside plugins/, else in the package itself. A
place may have only some of the folders `rollouts`, `metrics`, `manifests` and `calendars`; the next one has
the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter

from inference_rollouts.clients.safe_yaml import safe_load
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.metrics import MetricSet, judged_together, parse_metric_set
from inference_rollouts.core.plan.plan import Plan, parse_plan, validated
from inference_rollouts.core.schedule.windows import Blackout

T = TypeVar("T")

_BLACKOUTS = TypeAdapter(tuple[Blackout, ...])
PACKAGE = Path(__file__).resolve().parents[1]


def include_folder(name: str) -> Path:
    """Where the metric sets (`metrics`), the templates (`manifests`) or the `calendars` are."""
    return next((place / name for place in _places() if (place / name).is_dir()), _places()[-1] / name)


def plans_folder() -> Path:
    """Where the plans are: only the first place counts, lest a folder that is missing starts our examples."""
    return _places()[0] / "rollouts"


def plan_files() -> list[Path]:
    return sorted(plans_folder().glob("*.yaml"))


def load_plans(wanted: Callable[[str], bool] = lambda name: True) -> list[tuple[str, Plan | PlanInvalid]]:
    """Every plan file that is `wanted` by its name without `.yaml`: its plan, or what is wrong with it."""
    named = ((printable(path.stem), path) for path in plan_files())
    return [(name, _plan_or_mistake(path)) for name, path in named if wanted(name)]


def printable(name: str) -> str:
    """A file's name as people can read it and databases keep it, whatever its bytes are."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in name)


def _plan_or_mistake(path: Path) -> Plan | PlanInvalid:
    try:
        return load_plan(path)
    except PlanInvalid as error:
        return error


def load_plan(path: Path) -> Plan:
    """Raises PlanInvalid, naming the file, which must be named after its plan.

    Whatever a parser stumbles over is the mistake of this file, and of no other.
    """
    try:
        plan = _plan_of(path.read_text(encoding="utf-8"), path.stem)
        if plan.name != path.stem:
            raise PlanInvalid(f"the file of plan {plan.name!r} must be named {plan.name}.yaml.")
        return plan
    except PlanInvalid as error:
        raise PlanInvalid(f"{printable(path.name)}: {error}") from error
    except Exception as error:
        raise PlanInvalid(f"{printable(path.name)}: it cannot be read: {why_unread(error)}") from error


def why_unread(error: Exception) -> str:
    """In one line what the system, or a parser, says of a file that could not be read."""
    said = getattr(error, "strerror", None)
    return said or f"{type(error).__name__}: {' '.join(str(error).split())}"


def plan_named(name: str) -> Plan:
    """The plan of this name, which another one names. Raises PlanInvalid where there is no valid one."""
    if (path := plans_folder() / f"{name}.yaml") not in plan_files():
        raise PlanInvalid(f"There is no plan {name!r}; known are {_known(path.parent)}.")
    return load_plan(path)


@lru_cache(maxsize=4096)
def _plan_of(text: str, name: str) -> Plan:
    """Kept for the life of a process: a plan depends on its text and its file's name alone.

    Raises what `load_plan` explains.
    """
    value = safe_load(text)
    if isinstance(value, dict) and "name" not in value:
        value = {"name": name, **value}
    return parse_plan(value)


def load_metric_set(*names: str) -> MetricSet:
    """The metric sets of these names, judged together.

    Raises PlanInvalid when there is no such metric set, it is not valid, or they do not go together.
    """
    return judged_together([_metric_set(name) for name in names])


def _metric_set(name: str) -> MetricSet:
    try:
        return _held("metrics", name, "metric set", _set_of)
    except PlanInvalid as error:
        words = str(error).replace("The metric set", f"The metric set {name}.yaml", 1)
        raise PlanInvalid(words) from error


@lru_cache(maxsize=256)
def _set_of(text: str) -> MetricSet:
    """Kept for the life of a process: many plans have the same."""
    return parse_metric_set(safe_load(text))


def load_blackouts(name: str) -> tuple[Blackout, ...]:
    """A calendar's blackouts. Raises PlanInvalid when there is no such calendar or it is not valid."""
    value = _held("calendars", name, "calendar", safe_load)
    return validated(_BLACKOUTS, value, f"The calendar {name}.yaml is invalid")


def _held(folder: str, name: str, what: str, read: Callable[[str], T]) -> T:
    """What is read in a file of a folder. Raises PlanInvalid, in one line, whatever is wrong with it."""
    path = include_folder(folder) / f"{name}.yaml"
    try:
        return read(path.read_text(encoding="utf-8"))
    except PlanInvalid:
        raise
    except FileNotFoundError:
        raise PlanInvalid(f"There is no {what} {name!r}; known are {_known(path.parent)}.") from None
    except Exception as error:
        raise PlanInvalid(
            f"The {what} {path.name} is invalid: it cannot be read: {why_unread(error)}."
        ) from error


def load_manifests() -> list[dict[str, Any]]:
    """The manifest templates, in the order of their file names. Raises PlanInvalid where one is none."""
    files = sorted(include_folder("manifests").glob("*.yaml"))
    return [doc for file in files for doc in _templates(file)]


def _templates(file: Path) -> list[dict[str, Any]]:
    try:
        docs = [doc for doc in yaml.safe_load_all(file.read_text(encoding="utf-8")) if doc]
    except Exception as error:
        raise PlanInvalid(
            f"The template {file.name} is invalid: it cannot be read: {why_unread(error)}."
        ) from error
    if not all(isinstance(doc, dict) and doc.get("kind") and doc.get("apiVersion") for doc in docs):
        raise PlanInvalid(f"The template {file.name} is invalid: it holds what is no object of a cluster.")
    return docs


def _known(folder: Path) -> str:
    return ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"


def _places() -> list[Path]:
    """From the most particular to the package's own."""
    named, beside = os.environ.get("INFERENCE_ROLLOUTS_INCLUDE"), PACKAGE.parents[1] / "include"
    return [
        *([Path(named)] if named else []),
        *([beside] if PACKAGE.parent.name == "plugins" and beside.is_dir() else []),
        PACKAGE / "include",
    ]
