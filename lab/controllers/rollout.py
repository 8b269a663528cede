"""How many replicas each ReplicaSet of a Deployment should have, and what to say about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lab.kube.clock import age, created, stamp
from lab.kube.conditions import Condition, condition, find, settle
from lab.kube.objects import Obj


def share(value: Any, replicas: int, up: bool) -> int:
    """An int-or-percent (`2`, `"25%"`) of `replicas`, rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        exact = int(value[:-1]) * replicas / 100
        return math.ceil(exact) if up else math.floor(exact)
    return int(value)


def surge_and_unavailable(deployment: Obj) -> tuple[int, int]:
    """How many pods may be too many, and how many may be missing, during a rolling update."""
    strategy = deployment["spec"].get("strategy") or {}
    replicas = wanted(deployment)
    if strategy.get("type") == "Recreate":
        return 0, 0
    limits = strategy.get("rollingUpdate") or {}
    surge = share(limits.get("maxSurge", "25%"), replicas, up=True)
    unavailable = share(limits.get("maxUnavailable", "25%"), replicas, up=False)
    if surge == unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)


def wanted(obj: Obj) -> int:
    """`spec.replicas`, whose default is 1."""
    replicas = obj["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def total(sets: Sequence[Obj], field: str) -> int:
    """The sum of a status field over ReplicaSets."""
    return sum(int(each.get("status", {}).get(field, 0)) for each in sets)


def next_sizes(deployment: Obj, new: Obj | None, old: Sequence[Obj], old_pods: int) -> dict[str, int]:
    """The next sizes, by ReplicaSet name, of those whose size should change now.

    `old_pods` counts the pods of `old` that still exist, which holds back Recreate.
    """
    if new is None or deployment["spec"].get("paused"):
        sets = [*old, *([new] if new else [])]
        active = [each for each in sets if wanted(each)] or sets[-1:]
        return (
            _changes({active[0]["metadata"]["name"]: wanted(deployment)}, active) if len(active) == 1 else {}
        )
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        down = _changes({each["metadata"]["name"]: 0 for each in old}, old)
        if down or old_pods:
            return down
        return _changes({new["metadata"]["name"]: wanted(deployment)}, [new])
    return _grow(deployment, new, old) or _shrink(deployment, new, old)


def _changes(sizes: dict[str, int], sets: Sequence[Obj]) -> dict[str, int]:
    now = {each["metadata"]["name"]: wanted(each) for each in sets}
    return {name: size for name, size in sizes.items() if now[name] != size}


def _grow(deployment: Obj, new: Obj, old: Sequence[Obj]) -> dict[str, int]:
    surge, _ = surge_and_unavailable(deployment)
    goal, size = wanted(deployment), wanted(new)
    room = goal + surge - size - sum(map(wanted, old))
    target = goal if size > goal else size + max(0, min(room, goal - size))
    return _changes({new["metadata"]["name"]: target}, [new])


def _shrink(deployment: Obj, new: Obj, old: Sequence[Obj]) -> dict[str, int]:
    """Old pods go as far as enough stay available; those that are not available anyway go first."""
    _, unavailable = surge_and_unavailable(deployment)
    least = wanted(deployment) - unavailable
    missing_new = wanted(new) - total([new], "availableReplicas")
    everything = wanted(new) + sum(map(wanted, old))
    budget = everything - least - missing_new
    sizes = {each["metadata"]["name"]: wanted(each) for each in old}
    oldest_first = sorted(old, key=created)
    for each in oldest_first:
        name = each["metadata"]["name"]
        idle = max(0, sizes[name] - total([each], "availableReplicas"))
        gone = max(0, min(budget, idle))
        sizes[name] -= gone
        budget -= gone
    spare = total([new, *old], "availableReplicas") - least
    for each in oldest_first:
        name = each["metadata"]["name"]
        gone = max(0, min(budget, spare, sizes[name]))
        sizes[name] -= gone
        spare -= gone
        budget -= gone
    return _changes(sizes, old)


def deployment_status(deployment: Obj, new: Obj | None, old: Sequence[Obj], moment: datetime) -> Obj:
    """The status that tells how far the rollout is."""
    sets = [*([new] if new else []), *old]
    replicas, available = total(sets, "replicas"), total(sets, "availableReplicas")
    counts = {
        "replicas": replicas,
        "updatedReplicas": total([new] if new else [], "replicas"),
        "readyReplicas": total(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(map(wanted, sets)) - available),
    }
    before = deployment.get("status", {})
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        **{name: count for name, count in counts.items() if count},
    }
    made = [_available(deployment, available), _progressing(deployment, status, new, moment)]
    failure = next((problem for each in sets if (problem := _replica_failure(each))), None)
    conditions = [each for each in (*made, failure) if each]
    old_conditions = before.get("conditions")
    status["conditions"] = [
        _with_update_time(find(old_conditions, each["type"]), each, moment)
        for each in settle(old_conditions, conditions, moment)
    ]
    return status


def _with_update_time(old: Condition | None, new: Condition, moment: datetime) -> Condition:
    moved = new.pop("moved", False)
    same = old is not None and (old["status"], old["reason"]) == (new["status"], new["reason"]) and not moved
    return {**new, "lastUpdateTime": old["lastUpdateTime"] if old and same else stamp(moment)}


def _available(deployment: Obj, available: int) -> Condition:
    _, unavailable = surge_and_unavailable(deployment)
    if available >= wanted(deployment) - unavailable:
        return condition(
            "Available", True, "MinimumReplicasAvailable", "Deployment has minimum availability."
        )
    return condition(
        "Available", False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )


def _progressing(deployment: Obj, status: Obj, new: Obj | None, moment: datetime) -> Condition | None:
    before = find(deployment.get("status", {}).get("conditions"), "Progressing")
    if deployment["spec"].get("paused"):
        return condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
    if new is None:
        return before and dict(before)
    name = f'"{new["metadata"]["name"]}"'
    if _complete(deployment, status):
        message = f"ReplicaSet {name} has successfully progressed."
        return condition("Progressing", True, "NewReplicaSetAvailable", message)
    if before is None or name not in before["message"]:
        made = condition("Progressing", True, "NewReplicaSetCreated", f"Created new replica set {name}")
        return {**made, "moved": True}
    finished = before["reason"] == "NewReplicaSetAvailable"
    if finished and status.get("replicas") == status.get("updatedReplicas"):
        return dict(before)
    if finished or _advanced(deployment, status):
        made = condition("Progressing", True, "ReplicaSetUpdated", f"ReplicaSet {name} is progressing.")
        return {**made, "moved": True}
    if age(before["lastUpdateTime"], moment) > deadline(deployment):
        message = f"ReplicaSet {name} has timed out progressing."
        return condition("Progressing", False, "ProgressDeadlineExceeded", message)
    return dict(before)


def deadline(deployment: Obj) -> float:
    """Seconds without progress after which a rollout counts as stuck."""
    return float(deployment["spec"].get("progressDeadlineSeconds") or 600)


def _complete(deployment: Obj, status: Obj) -> bool:
    fields = ("updatedReplicas", "replicas", "availableReplicas")
    return all(status.get(field, 0) == wanted(deployment) for field in fields)


def _advanced(deployment: Obj, status: Obj) -> bool:
    before = deployment.get("status", {})

    def grew(field: str) -> bool:
        return bool(status.get(field, 0) > before.get(field, 0))

    def old(counts: Obj) -> int:
        return int(counts.get("replicas", 0) - counts.get("updatedReplicas", 0))

    return (
        grew("updatedReplicas")
        or grew("readyReplicas")
        or grew("availableReplicas")
        or old(status) < old(before)
    )


def _replica_failure(replica_set: Obj) -> Condition | None:
    failure = find(replica_set.get("status", {}).get("conditions"), "ReplicaFailure")
    return dict(failure) if failure else None
