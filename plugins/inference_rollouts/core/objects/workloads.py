"""Workloads: whether enough of their pods run, and whether those that do not still may."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from inference_rollouts.core.limits import POD_START_GRACE
from inference_rollouts.core.objects.events import last_warning
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import (
    K8sObject,
    conditions_of,
    created_at,
    moment,
    part,
    parts,
    title_of,
)
from inference_rollouts.core.objects.readiness import (
    Phase,
    Readiness,
    container_statuses,
    is_true,
    picker_reference,
    ready_pods,
    restarts,
)
from inference_rollouts.core.objects.workload_kinds import (
    LEADERS,
    REVISIONS,
    pod_count,
    replicas_of,
    template_labels,
)

MAX_RESTARTS = 3  # a container that died this often in a new pool will not serve
HOPELESS = frozenset({"ErrImageNeverPull", "InvalidImageName"})
# A secret or config map may come a moment later, a registry may be asked again.
DOUBTFUL = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImagePull",
        "ImagePullBackOff",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
# Pulls that failed on the way are tried again, and a large image takes longer than any short deadline.
NETWORK_WORDS = (
    *("timeout", "deadline", "connection", "eof", "reset", "broken pipe", "unreachable", "misbehaving"),
    *("too many requests", "toomanyrequests", "rate limit", "rate exceeded", "quota", "qps exceeded"),
    *("unavailable", "bad gateway", "internal server error"),
)
# A node that is busy makes a container late, and its name is free again a while later.
BUSY_WORDS = ("deadline exceeded", "is reserved for")
# What kubelets before 1.32 say of every pull that they will try again, whatever was wrong.
_ANY_PULL = re.compile(r'Back-off pulling image "[^"]*"\.?')


class Demand(StrEnum):
    """How many pods of a workload must be ready."""

    EVERY_POD = "every pod"  # model servers: the weights count on each
    AVAILABLE = "available"  # as many as its condition Available asks for
    ONE_POD = "one pod"  # endpoint pickers: with leader election one is ready by design


def demand_of(workload: K8sObject, manifests: Iterable[K8sObject]) -> Demand:
    """What a workload among `manifests` is: of an InferencePool's servers, of its picker, or neither."""
    manifests = list(manifests)
    labels = template_labels(workload).items()
    for pool in (each for each in manifests if each["kind"] == "InferencePool"):
        if (servers := pod_labels(pool)) and servers.items() <= labels:
            return Demand.EVERY_POD
        name, _ = picker_reference(pool) or (None, False)
        for service in manifests:
            selector = part(service, "spec", "selector")
            ours = service["kind"] == "Service" and service["metadata"]["name"] == name
            if ours and selector and selector.items() <= labels:
                return Demand.ONE_POD
    return Demand.AVAILABLE


def workload_readiness(
    workload: K8sObject,
    pods: Sequence[K8sObject],
    since: float,
    now: float,
    demand: Demand = Demand.EVERY_POD,
    events: Sequence[K8sObject] = (),
) -> Readiness:
    """Whether a workload runs its current template with as many ready pods as `demand` says.

    A group of a LeaderWorkerSet is ready when its leader and all its workers are. What pods went through
    before `since`, when the rollout began, says nothing. Times are Unix seconds. `events` are those about
    what is `in_question`: they say what objects themselves do not.
    """
    name, want = workload["metadata"]["name"], replicas_of(workload)
    current = _current_pods(workload, pods)
    done = _is_rolled_out(workload, want, demand) and _is_enough(workload, current, want, demand)
    reasons = [unmade(workload, pods, events), *map(_pod_wait, current), *_starting(current, events)]
    waiting = "" if done else "; ".join(dict.fromkeys(filter(None, reasons)))
    if not (done and demand is Demand.ONE_POD):
        failure = _pods_failure(current, since, now, events) or _progress_failure(workload, waiting)
        if failure:
            return Readiness(Phase.FAILED, f"{title_of(workload)}: {failure}")
    available = min(_available(workload), int(part(workload, "status").get("updatedReplicas", 0)))
    units = "groups" if workload["kind"] == LEADERS else "pods"
    return Readiness.when(
        done, f"{available} of {want} {units} of {name} available" + (f": {waiting}" if waiting else "")
    )


def in_question(workload: K8sObject, pods: Sequence[K8sObject]) -> list[K8sObject]:
    """Of what Events may say why it is not ready: a workload without all its pods, a pod that cannot start.

    Of several such pods the first.
    """
    lacking = [workload] if len(pods) < pod_count(workload) else []
    return [*lacking, *[pod for pod in pods if _is_starting(pod)][:1]]


def unmade(workload: K8sObject, pods: Sequence[K8sObject], events: Sequence[K8sObject]) -> str:
    """Why a workload has fewer pods than it is to have: a quota, or a webhook that refuses them; or nothing.

    Deployments say it in a condition, others in Events alone.
    """
    if len(pods) >= pod_count(workload):
        return ""
    failure = conditions_of(workload).get("ReplicaFailure", {})
    if failure.get("status") == "True":
        return f"{failure.get('reason')}: {failure.get('message')}"
    return last_warning(each for each in events if each.get("reason") == "FailedCreate")


def _starting(pods: Sequence[K8sObject], events: Sequence[K8sObject]) -> list[str]:
    """What a kubelet says of a pod that it cannot start: a volume, or a network, that it cannot have."""
    kubelet = [each for each in events if each.get("reason") not in ("FailedCreate", "FailedScheduling")]
    return [last_warning(kubelet)] if any(map(_is_starting, pods)) else []


def _is_starting(pod: K8sObject) -> bool:
    """Whether a pod has a node and no container that runs, or that a start was tried of and failed."""
    going = [each for each in container_statuses(pod) if not part(each, "state", "waiting")]
    return bool(part(pod, "spec").get("nodeName")) and not going


def _is_rolled_out(workload: K8sObject, want: int, demand: Demand) -> bool:
    """Whether there are as many replicas as needed, all of the current template.

    A StatefulSet makes one after the other, each when the one before it is Ready: of pickers that elect a
    leader it never has all.
    """
    status = part(workload, "status")
    if not _is_observed(workload):
        return False
    updated, there = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    if demand is Demand.ONE_POD:
        return updated >= min(want, 1) and there == updated
    return updated >= want and there == want


def _is_observed(workload: K8sObject) -> bool:
    """Whether the controller has seen the workload as it is; older ones of LeaderWorkerSets do not say."""
    status, generation = part(workload, "status"), int(workload["metadata"].get("generation", 0))
    unsaid = generation if workload["kind"] == LEADERS else 0
    return int(status.get("observedGeneration", unsaid)) >= generation


def _available(workload: K8sObject) -> int:
    """How many replicas serve; of a LeaderWorkerSet how many groups are ready as a whole."""
    field = "readyReplicas" if workload["kind"] == LEADERS else "availableReplicas"
    return int(part(workload, "status").get(field, 0))


def _is_enough(workload: K8sObject, pods: Sequence[K8sObject], want: int, demand: Demand) -> bool:
    if _available(workload) >= want:
        return True
    if demand is Demand.EVERY_POD or not ready_pods(pods):
        return False
    return demand is Demand.ONE_POD or is_true(workload, "Available")


def _current_pods(workload: K8sObject, pods: Sequence[K8sObject]) -> list[K8sObject]:
    """The pods of the current template; an earlier one's say nothing. None before its first is there."""
    if not _is_observed(workload) or not part(workload, "status").get("updatedReplicas"):
        return []
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    newest = max(staying, key=lambda pod: created_at(pod) or -math.inf, default=None)
    return [pod for pod in staying if newest and _template(pod) == _template(newest)]


def _template(pod: K8sObject) -> str | None:
    labels = part(pod, "metadata", "labels")
    return next((str(labels[each]) for each in REVISIONS if each in labels), None)


def _progress_failure(workload: K8sObject, why: str) -> str | None:
    progressing = conditions_of(workload).get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        words = f"made no progress before its deadline ({progressing.get('message', '')})"
        return f"{words}: {why}" if why else words
    return None


def _pods_failure(
    pods: Sequence[K8sObject], since: float, now: float, events: Sequence[K8sObject]
) -> str | None:
    for pod in pods:
        name = pod["metadata"]["name"]
        if (crashes := _crashes(pod, since)) >= MAX_RESTARTS:
            return f"pod {name} crashed {crashes} times ({_pod_wait(pod) or 'see its logs'})"
        reason, words = _waiting(pod)
        if _ANY_PULL.fullmatch(words):
            words = last_warning(filter(_tells_cause, events)) or words
        if reason in HOPELESS or (reason in DOUBTFUL and _is_stuck(pod, reason, words, now)):
            return f"pod {name} cannot start: {reason}" + (f" ({words})" if words else "")
    return None


def _tells_cause(event: K8sObject) -> bool:
    """Whether it is what a kubelet tells of a pull that failed; it tells the error's bare name besides."""
    return event.get("reason") == "Failed" and not str(event.get("message")).startswith("Error:")


def _crashes(pod: K8sObject, since: float) -> int:
    """How often a container of a pod died since then; a pod that is not known to be older counts with all."""
    created = created_at(pod)
    if created is None or created >= since:
        tried = [each for each in container_statuses(pod) if not _is_over(each)]
        return max((int(each.get("restartCount") or 0) for each in tried), default=0)
    return restarts([pod], since)


def _is_over(status: K8sObject) -> bool:
    """Whether a container has done what it was for, as those do that prepare a pod: at its last try."""
    return part(status, "state", "terminated").get("exitCode") == 0


def _is_stuck(pod: K8sObject, reason: str, words: str, now: float) -> bool:
    """Whether a pod could not start for too long, as far as Kubernetes tells since when."""
    creating = {"CreateContainerConfigError": (), "CreateContainerError": BUSY_WORDS}
    if any(word in words.lower() for word in creating.get(reason, NETWORK_WORDS)):
        return False
    began = _waiting_since(pod)
    return began is not None and now - began >= POD_START_GRACE


def _waiting_since(pod: K8sObject) -> float | None:
    """The latest change of a pod: a container's waiting state has no time of its own."""
    texts = [part(pod, "metadata").get("creationTimestamp"), part(pod, "status").get("startTime")]
    texts += [each.get("lastTransitionTime") for each in parts(pod, "status", "conditions")]
    texts += [part(each, "lastState", "terminated").get("finishedAt") for each in container_statuses(pod)]
    texts += [
        each.get("time")
        for each in parts(pod, "metadata", "managedFields")
        if each.get("manager") == "kubelet"
    ]
    return max(filter(None, map(moment, texts)), default=None)


def _pod_wait(pod: K8sObject) -> str:
    """Why a pod is not ready yet, as Kubernetes says it."""
    if is_true(pod, "Ready"):
        return ""
    scheduled = conditions_of(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}"
    reason, words = _waiting(pod)
    if words and not reason.startswith("CrashLoop"):
        return f"{reason}: {words}"
    return reason or f"{part(pod, 'status').get('phase', 'Pending')}, not ready"


def _waiting(pod: K8sObject) -> tuple[str, str]:
    """The reason and the words of the first container that waits; empty when none does."""
    for status in container_statuses(pod):
        waiting = part(status, "state", "waiting")
        if waiting.get("reason"):
            return str(waiting["reason"]), str(waiting.get("message") or "")
    return "", ""
