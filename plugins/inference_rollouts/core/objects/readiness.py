"""Is it ready? Functions from cluster objects to a phase that a waiting task can act on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from inference_rollouts.core.objects.k8s import K8sObject

MAX_RESTARTS = 3  # a container that died this often in a new pool will not serve
HOPELESS = frozenset({"ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"})


class Phase(StrEnum):
    """Ordered: combining several answers is one `max`."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


_RANK = {Phase.READY: 0, Phase.WAITING: 1, Phase.FAILED: 2}


@dataclass(frozen=True, slots=True)
class Readiness:
    """A phase and one sentence that explains it."""

    phase: Phase
    message: str

    @classmethod
    def when(cls, done: bool, message: str) -> Readiness:
        return cls(Phase.READY if done else Phase.WAITING, message)


def worst(answers: Iterable[Readiness]) -> Readiness:
    """The answer furthest from ready; the first among equals. Ready when there is none."""
    return max(
        answers, key=lambda answer: _RANK[answer.phase], default=Readiness(Phase.READY, "nothing to wait for")
    )


def nodes_readiness(
    nodes: Sequence[K8sObject], pods: Sequence[K8sObject], resource: str, needed: int, own: Mapping[str, str]
) -> Readiness:
    """Whether Ready, schedulable `nodes` have `needed` units of `resource` free.

    `pods` are all pods of the cluster that may run there; those with labels `own` are the canary's and
    count as free, so that a retry after the pool was deployed gives the same answer.
    """
    usable = [node for node in nodes if _is_true(node, "Ready") and not node["spec"].get("unschedulable")]
    names = {node["metadata"]["name"] for node in usable}
    total = sum(int(node["status"].get("allocatable", {}).get(resource, 0)) for node in usable)
    used = sum(
        _requested(pod, resource)
        for pod in pods
        if pod["spec"].get("nodeName") in names
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        and not own.items() <= pod["metadata"].get("labels", {}).items()
    )
    free = total - used
    return Readiness.when(
        free >= needed,
        f"{len(usable)} of {len(nodes)} nodes ready, {free} of {total} {resource} free, {needed} needed",
    )


def workload_readiness(deployment: K8sObject, pods: Sequence[K8sObject]) -> Readiness:
    """Whether every replica of a Deployment runs its current template and is available."""
    spec, status, meta = deployment["spec"], deployment.get("status", {}), deployment["metadata"]
    want = int(spec.get("replicas", 1))
    failure = _pods_failure(pods) or _progress_failure(deployment)
    if failure:
        return Readiness(Phase.FAILED, f"Deployment {meta['name']}: {failure}")
    current = status.get("observedGeneration", 0) >= meta.get("generation", 0)
    available = min(int(status.get("availableReplicas", 0)), int(status.get("updatedReplicas", 0)))
    done = current and available >= want and int(status.get("replicas", 0)) == want
    waiting = "" if done else "; ".join(dict.fromkeys(filter(None, map(_pod_wait, pods))))
    return Readiness.when(
        done, f"{available} of {want} pods of {meta['name']} available" + (f": {waiting}" if waiting else "")
    )


def pool_readiness(pool: K8sObject, gateway: str) -> Readiness:
    """Whether `gateway` accepted an InferencePool and resolved its references, at its current generation."""
    return _parent_readiness(pool, gateway, f"InferencePool {pool['metadata']['name']}")


def policy_readiness(policy: K8sObject) -> Readiness:
    """Whether a policy of GKE is attached to its pool. One without a condition has not been refused."""
    what = f"{policy['kind']} {policy['metadata']['name']}"
    for condition in policy.get("status", {}).get("conditions", ()):
        if condition["type"] == "Attached" and condition["status"] != "True":
            why = f"{condition.get('reason')}: {condition.get('message')}"
            return Readiness(Phase.WAITING, f"{what} is not attached ({why})")
    return Readiness(Phase.READY, f"{what} is not refused")


def route_readiness(route: K8sObject, gateway: str) -> Readiness:
    """Whether `gateway` accepted an HTTPRoute and resolved its references, at its current generation."""
    answer = _parent_readiness(route, gateway, f"HTTPRoute {route['metadata']['name']}")
    if (
        answer.phase is Phase.READY
        and _parent_condition(route, gateway, "PartiallyInvalid").get("status") == "True"
    ):
        reason = _parent_condition(route, gateway, "PartiallyInvalid").get("message", "")
        return Readiness(
            Phase.WAITING, f"HTTPRoute {route['metadata']['name']} is partially invalid: {reason}"
        )
    return answer


def gateway_name(route: K8sObject, wanted: str | None = None) -> str | None:
    """The Gateway a route attaches to: the one `wanted`, or its only parent; None when that is unclear."""
    parents = [parent["name"] for parent in route["spec"].get("parentRefs", ())]
    if wanted is not None:
        return wanted if wanted in parents else None
    return parents[0] if len(set(parents)) == 1 else None


def picker_reference(pool: K8sObject) -> tuple[str, bool] | None:
    """The Service of a pool's endpoint picker, and whether requests are dropped while it is down.

    FailClose is the API's default.
    """
    reference = pool["spec"].get("endpointPickerRef") or pool["spec"].get("extensionRef")
    if not reference:
        return None
    return str(reference["name"]), reference.get("failureMode", "FailClose") == "FailClose"


def ready_pods(pods: Sequence[K8sObject]) -> list[K8sObject]:
    """Pods that may be sent requests: Ready and not on their way out."""
    return [pod for pod in pods if _is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")]


def restarts(pods: Sequence[K8sObject], since: float) -> int:
    """The most restarts of any one container that was restarted after `since` (Unix seconds).

    Kubernetes keeps the time of a container's last restart only: one that crashes again counts with all its
    past, one that has run quietly since then does not count.
    """
    return max(
        (int(status["restartCount"]) for status in _container_statuses(pods) if _restarted(status) >= since),
        default=0,
    )


def _parent_readiness(obj: K8sObject, gateway: str, what: str) -> Readiness:
    generation = obj["metadata"].get("generation", 0)
    for kind in ("Accepted", "ResolvedRefs"):
        condition = _parent_condition(obj, gateway, kind)
        if not condition:
            return Readiness(Phase.WAITING, f"{what}: {gateway} has not reported {kind} yet")
        if condition.get("observedGeneration", 0) < generation:
            return Readiness(Phase.WAITING, f"{what}: {gateway} has not seen generation {generation} yet")
        if condition["status"] != "True":
            return Readiness(
                Phase.WAITING,
                f"{what}: {kind} is {condition['status']} "
                f"({condition.get('reason')}: {condition.get('message')})",
            )
    return Readiness(Phase.READY, f"{what} accepted and resolved by {gateway} at generation {generation}")


def _parent_condition(obj: K8sObject, gateway: str, kind: str) -> K8sObject:
    status = obj.get("status", {})
    for parent in status.get("parents") or status.get("parent") or ():  # `parent`: old InferencePools
        if parent.get("parentRef", {}).get("name") == gateway:
            for condition in parent.get("conditions", ()):
                if condition["type"] == kind:
                    return condition  # type: ignore[no-any-return]
    return {}


def _progress_failure(deployment: K8sObject) -> str | None:
    for condition in deployment.get("status", {}).get("conditions", ()):
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return f"made no progress before its deadline ({condition.get('message', '')})"
    return None


def _pods_failure(pods: Sequence[K8sObject]) -> str | None:
    for pod in pods:
        name = pod["metadata"]["name"]
        if _restarts(pod) >= MAX_RESTARTS:
            return f"pod {name} crashed {_restarts(pod)} times ({_pod_wait(pod) or 'see its logs'})"
        if (reason := _waiting_reason(pod)) in HOPELESS:
            return f"pod {name} cannot start: {reason}"
    return None


def _pod_wait(pod: K8sObject) -> str:
    """Why a pod is not ready yet, as Kubernetes says it."""
    if _is_true(pod, "Ready"):
        return ""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}"
    return _waiting_reason(pod) or str(pod.get("status", {}).get("phase", "Pending")) + ", not ready"


def _waiting_reason(pod: K8sObject) -> str:
    for status in pod.get("status", {}).get("containerStatuses", ()):
        reason = status.get("state", {}).get("waiting", {}).get("reason", "")
        if reason:
            return str(reason)
    return ""


def _restarts(pod: K8sObject) -> int:
    return max(
        (int(c.get("restartCount", 0)) for c in pod.get("status", {}).get("containerStatuses", ())), default=0
    )


def _container_statuses(pods: Sequence[K8sObject]) -> Iterator[K8sObject]:
    for pod in pods:
        yield from pod.get("status", {}).get("containerStatuses", ())


def _restarted(status: K8sObject) -> float:
    """When a container's last run ended (Unix seconds), or else when its present one began."""
    if not status.get("restartCount"):
        return -math.inf
    ended = status.get("lastState", {}).get("terminated", {}).get("finishedAt")
    moment = ended or status.get("state", {}).get("running", {}).get("startedAt")
    return datetime.fromisoformat(moment).timestamp() if moment else -math.inf


def _requested(pod: K8sObject, resource: str) -> int:
    containers = pod["spec"].get("containers", ())
    return sum(int(c.get("resources", {}).get("requests", {}).get(resource, 0)) for c in containers)


def _is_true(obj: K8sObject, kind: str) -> bool:
    conditions = obj.get("status", {}).get("conditions", ())
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
