"""Turns: of rollouts that want the same accelerators, one places its pods after the other.

Free accelerators are those that no pod has; two rollouts that look at the same moment would both find the
same ones. A Lease says whose turn it is, until those pods have their nodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, ValidationError

from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.objects.k8s import K8sObject, part
from inference_rollouts.core.values import Value

WITHOUT_PODS = 120.0  # seconds for which a turn holds before there is a pod: its Deployment is on its way


class Turn(Value):
    """Whose turn it is: `pool` of `plan` has it `since` then, for so many pods, and no longer than `until`.

    Both are Unix seconds.
    """

    plan: str
    pool: str
    pods: Annotated[int, Field(ge=0)]
    since: float
    until: float


def lease_of(resource: str, selector: Mapping[str, str]) -> str:
    """The name of the Lease of all who want this resource of these nodes."""
    wanted = json.dumps([resource, sorted(selector.items())])
    return f"inference-rollouts-nodes-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"


def turn_of(lease: K8sObject) -> Turn | None:
    """Whose turn a Lease says it is; None where it says nothing."""
    try:
        return Turn.model_validate_json(str(part(lease, "spec").get("holderIdentity", "")))
    except ValidationError:
        return None


def empty_lease(name: str) -> K8sObject:
    """A Lease of nobody."""
    return {"apiVersion": LEASE_API, "kind": "Lease", "metadata": {"name": name}}


def taking_patch(lease: K8sObject, turn: Turn) -> list[dict[str, Any]]:
    """The patch that takes a turn, unless somebody has written to the Lease meanwhile."""
    renewed = datetime.fromtimestamp(turn.since, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {
        "holderIdentity": turn.model_dump_json(),
        "leaseDurationSeconds": max(1, int(turn.until - turn.since)),
        "renewTime": renewed,
    }
    version = {
        "op": "test",
        "path": "/metadata/resourceVersion",
        "value": lease["metadata"]["resourceVersion"],
    }
    return [version, {"op": "add", "path": "/spec", "value": spec}]


def is_over(turn: Turn, pods: Sequence[K8sObject], now: float) -> bool:
    """Whether the next one may begin: the `pods` of the pool have nodes, or it has had its time."""
    placed = [pod for pod in pods if part(pod, "spec").get("nodeName")]
    if now > turn.until or len(placed) >= turn.pods:
        return True
    return not pods and now > turn.since + WITHOUT_PODS


def is_of(turn: Turn, plan: str, pool: str) -> bool:
    return (turn.plan, turn.pool) == (plan, pool)
