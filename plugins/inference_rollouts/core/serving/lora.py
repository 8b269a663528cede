"""An adapter on the pods of its pool: which server process has it, and whether its name is free there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from inference_rollouts.core.plan.workload import DEFAULT_MAX_LORA_RANK
from inference_rollouts.core.routing.weights import SPELLINGS
from inference_rollouts.core.serving.adapters import Served

_RANK = re.compile(r"--max-lora-rank[= ](\d+)")


def process_of(pod: Mapping[str, Any]) -> str:
    """Tells the server processes of pods apart: one that was restarted has forgotten what it had loaded."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    restarts = sum(int(status.get("restartCount", 0)) for status in statuses)
    return f"{pod['metadata']['uid']}/{restarts}"


def conflict(served: Iterable[Served], name: str, path: str) -> str | None:
    """Why an adapter at `path` cannot be loaded as `name` beside what a server has; None if it can."""
    taken = next((each for each in served if each.name == name), None)
    if taken is None or (taken.parent and taken.path == path):
        return None
    if taken.parent is None:
        return f"answers as {name} with its base model; give the new adapter a name of its own"
    return (
        f"has {name} loaded already, from {taken.path}, not from {path}; name it otherwise or unload it there"
    )


def named_in(thing: Mapping[str, Any], name: str) -> bool:
    """Whether an InferenceModelRewrite or InferenceModel sends requests to `name`, or is asked for it."""
    spec, spelling = thing["spec"], SPELLINGS[thing["kind"]]
    rules = [spec] if thing["kind"] == "InferenceModel" else spec.get("rules") or ()
    asked = [match["model"]["value"] for rule in rules for match in rule.get("matches") or ()]
    sent = [entry[spelling.name] for rule in rules for entry in rule.get(spelling.field) or ()]
    return name in [*asked, *sent, spec.get("modelName")]


def max_rank(pod: Mapping[str, Any]) -> int:
    """The largest rank of adapters that a pod's server was told to take."""
    containers = pod["spec"].get("containers", ())
    given = " ".join(word for c in containers for word in (*(c.get("command") or ()), *(c.get("args") or ())))
    return int([DEFAULT_MAX_LORA_RANK, *_RANK.findall(given)][-1])
