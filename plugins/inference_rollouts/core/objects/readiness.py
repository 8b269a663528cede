"""Is it ready? Functions from cluster objects to a phase that a waiting task can act on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from inference_rollouts.core.objects.gateways import ALWAYS, WHERE_TOLD
from inference_rollouts.core.objects.k8s import K8sObject, conditions_of, moment, part, parts
from inference_rollouts.core.objects.parents import (
    Parent,
    ParentStatus,
    asked_of_pools,
    observed_generation,
    parents_of,
    pool_statuses,
    reports_of,
    route_statuses,
)
from inference_rollouts.core.objects.placing import Rooms, may_run_on, tolerates
from inference_rollouts.core.objects.quantities import requested, units


class Phase(StrEnum):
    """Ordered: combining several answers is one `max`."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


_RANK = {Phase.READY: 0, Phase.WAITING: 1, Phase.FAILED: 2}


@dataclass(frozen=True, slots=True)
class Readiness:
    """A phase and one sentence that explains it; not `answered` where who was asked said nothing.

    `later`: the seconds after which it wants to be asked again; 0 where it does not say.
    """

    phase: Phase
    message: str
    answered: bool = True
    later: float = 0.0

    @classmethod
    def when(cls, done: bool, message: str) -> Readiness:
        return cls(Phase.READY if done else Phase.WAITING, message)


def worst(answers: Iterable[Readiness]) -> Readiness:
    """The answer furthest from ready; the first among equals. Ready when there is none."""
    return max(
        answers, key=lambda answer: _RANK[answer.phase], default=Readiness(Phase.READY, "nothing to wait for")
    )


@dataclass(frozen=True, slots=True)
class Replicas:
    """So many pods, `each` of which takes so many units of `resource` of one node, and tolerates this.

    They run on nodes with the labels of `selector` alone, and as the rules of their `template` let them.
    """

    count: int
    each: int
    resource: str
    tolerations: Sequence[K8sObject] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    template: K8sObject = field(default_factory=dict)


def nodes_readiness(
    nodes: Sequence[K8sObject],
    pods: Sequence[K8sObject],
    wanted: Sequence[Replicas],
    own: Mapping[str, str],
    elsewhere: Sequence[K8sObject] = (),
) -> Readiness:
    """Whether Ready, schedulable `nodes` have room for the replicas, each on one node that they tolerate,
    that their affinity chooses, and that the pods beside it, or how they are to be spread, leave them.

    Several sorts of them want the same resource; the largest are placed first. `pods` are all pods of the
    cluster that may run there; those with labels `own` are the canary's and count as free, so that a retry
    after the pool was deployed gives the same answer. `elsewhere` are the cluster's other nodes: none of the
    replicas is to run there, but who runs there counts for what they want beside them, and in which zone.
    """
    usable = [node for node in nodes if is_true(node, "Ready") and not node["spec"].get("unschedulable")]
    meant = [node for node in usable if any(_is_chosen(node, each) for each in wanted)]
    tolerated = [node for node in meant if any(_suits(node, each) for each in wanted)]
    resource = wanted[0].resource
    total = {
        node["metadata"]["name"]: units(part(node, "status", "allocatable").get(resource, 0))
        for node in tolerated
    }
    free, others = dict(total), _others(pods, own)
    for pod in others:
        if (name := pod["spec"].get("nodeName")) in free:
            free[name] -= requested(pod, resource)
    needed, wished = sum(each.count for each in wanted), sum(each.count * each.each for each in wanted)
    words = (
        f"{len(usable)} of {len(nodes)} nodes ready, {sum(free.values())} of {sum(total.values())} "
        f"{resource} free, {wished} needed"
    )
    if tainted := len(meant) - len(tolerated):
        words += f"; {tainted} of them are tainted for others"
    enough = wished <= sum(free.values())
    ruled = _placed(tolerated, free, wanted, Rooms([*nodes, *elsewhere], others))
    apart = [replace(each, template={}) for each in wanted]
    fitting = ruled if ruled >= needed else _placed(tolerated, free, apart, Rooms(nodes, ()))
    if fitting < needed and enough:
        sizes = " or ".join(str(each) for each in sorted({each.each for each in wanted}))
        words += f"; they lie apart: only {fitting} of {needed} pods with {sizes} each fit on a node"
    elif ruled < needed <= fitting:
        words += (
            f"; what pods want beside them, or how they are spread, lets only {ruled} of {needed} be there"
        )
    return Readiness.when(ruled >= needed, words)


def _others(pods: Sequence[K8sObject], own: Mapping[str, str]) -> list[K8sObject]:
    """The pods that have not ended, without our own."""
    return [
        pod
        for pod in pods
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        and not own.items() <= (pod["metadata"].get("labels") or {}).items()
    ]


def _placed(
    nodes: Sequence[K8sObject], free: Mapping[str, int], wanted: Sequence[Replicas], rooms: Rooms
) -> int:
    """How many of the replicas find a node, each the first that has room for it and may be its own."""
    left, placed = dict(free), 0
    for sort in sorted(wanted, key=lambda each: each.each, reverse=True):
        suited = [node for node in nodes if _suits(node, sort)]
        for _ in range(sort.count):
            suited = [node for node in suited if left[node["metadata"]["name"]] >= sort.each]
            if (node := rooms.place(sort.template, suited)) is None:
                break
            left[node["metadata"]["name"]] -= sort.each
            placed += 1
    return placed


def _suits(node: K8sObject, wanted: Replicas) -> bool:
    return _is_chosen(node, wanted) and not _repelling(node, wanted)


def _is_chosen(node: K8sObject, wanted: Replicas) -> bool:
    labels = node["metadata"].get("labels") or {}
    return wanted.selector.items() <= labels.items() and may_run_on(node, wanted.template)


def _repelling(node: K8sObject, wanted: Replicas) -> bool:
    """Whether a taint keeps the pods off a node.

    That of the resource itself does not: Kubernetes' ExtendedResourceToleration gives pods that toleration.
    """
    return any(
        taint.get("effect") in ("NoSchedule", "NoExecute")
        and taint.get("key") != wanted.resource
        and not any(tolerates(each, taint) for each in wanted.tolerations)
        for taint in parts(node, "spec", "taints")
    )


def pool_readiness(pool: K8sObject, parents: Sequence[Parent]) -> Readiness:
    """Whether the gateways of `parents` accepted an InferencePool as it is now, its references resolved."""
    statuses = pool_statuses(pool)
    gateways = tuple(dict.fromkeys(each for parent in parents for each in asked_of_pools(parent, statuses)))
    return _served(pool, f"InferencePool {pool['metadata']['name']}", gateways, statuses)


def policy_readiness(policy: K8sObject) -> Readiness:
    """Whether a policy of GKE is attached to its pool. One without a condition has not been refused."""
    what = f"{policy['kind']} {policy['metadata']['name']}"
    attached = conditions_of(policy).get("Attached")
    if attached is not None and attached.get("status") != "True":
        why = f"{attached.get('reason')}: {attached.get('message')}"
        return Readiness(Phase.WAITING, f"{what} is not attached ({why})")
    return Readiness(Phase.READY, f"{what} is not refused")


def route_readiness(route: K8sObject, parents: Sequence[Parent]) -> Readiness:
    """Whether all `parents` that a route still names accepted it as it is now, resolved its references and,
    where they tell, programmed it.
    """
    what, named = f"HTTPRoute {route['metadata']['name']}", parents_of(route)
    current = [each for each in parents if any(replace(each, controller="").means(ref) for ref in named)]
    if parents and not current:
        former = ", ".join(map(str, parents))
        return Readiness(Phase.WAITING, f"{what} names none of the parents that served it ({former})")
    return _served(route, what, current, route_statuses(route))


def is_unresolved(route: K8sObject) -> bool:
    """Whether a parent says of a route as it is now that a backend is not there: requests are lost."""
    generation = route["metadata"].get("generation") or 0
    said = (status.conditions.get("ResolvedRefs", {}) for status in route_statuses(route))
    return any(
        each.get("status") == "False"
        and each.get("reason") == "BackendNotFound"
        and (observed_generation(each) or 0) >= generation
        for each in said
    )


def picker_reference(pool: K8sObject) -> tuple[str, bool] | None:
    """The Service of a pool's endpoint picker, and whether requests are dropped while it is down.

    FailClose is the API's default.
    """
    reference = pool["spec"].get("endpointPickerRef") or pool["spec"].get("extensionRef")
    if not reference:
        return None
    return str(reference["name"]), reference.get("failureMode", "FailClose") == "FailClose"


def is_true(obj: K8sObject, kind: str) -> bool:
    """Whether a condition of an object stands."""
    return conditions_of(obj).get(kind, {}).get("status") == "True"


def container_statuses(pod: K8sObject) -> list[K8sObject]:
    """Of all containers of a pod, those first that prepare it."""
    return [*parts(pod, "status", "initContainerStatuses"), *parts(pod, "status", "containerStatuses")]


def serving_statuses(pod: K8sObject) -> list[K8sObject]:
    """Of the containers that run while a pod serves: not of those that prepare it, and are done by then."""
    staying = {
        each.get("name")
        for each in parts(pod, "spec", "initContainers")
        if each.get("restartPolicy") == "Always"
    }
    beside = [each for each in parts(pod, "status", "initContainerStatuses") if each.get("name") in staying]
    return [*beside, *parts(pod, "status", "containerStatuses")]


def ready_pods(pods: Sequence[K8sObject]) -> list[K8sObject]:
    """Pods that may be sent requests: Ready and not on their way out."""
    return [pod for pod in pods if is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")]


def restarts(pods: Sequence[K8sObject], since: float) -> int:
    """The most restarts of any one container that was restarted after `since` (Unix seconds).

    Kubernetes keeps the time of a container's last restart only: one that crashes again counts with all its
    past, one that has run quietly since then does not count.
    """
    return max(
        (
            int(status["restartCount"])
            for pod in pods
            for status in container_statuses(pod)
            if restarted_at(status) >= since
        ),
        default=0,
    )


def _served(
    obj: K8sObject, what: str, parents: Sequence[Parent], entries: Sequence[ParentStatus]
) -> Readiness:
    """Whether each of `parents` says yes to an object at its current generation."""
    if not parents:
        return Readiness(Phase.WAITING, f"{what} is served by no parent")
    generation = obj["metadata"].get("generation") or 0
    for parent in parents:
        reports = reports_of(parent, entries)
        if not reports:
            return Readiness(Phase.WAITING, f"{what}: {parent} has not reported Accepted yet")
        for report in reports:
            if objection := _objection(report.conditions, str(parent), generation):
                return Readiness(Phase.WAITING, f"{what}: {objection}")
    by = " and ".join(map(str, parents))
    return Readiness(Phase.READY, f"{what} accepted and resolved by {by} at generation {generation}")


def _objection(conditions: Mapping[str, K8sObject], parent: str, generation: int) -> str | None:
    """What a parent has against an object, or does not say; None when it serves it as it is now."""
    told = [kind for kind in WHERE_TOLD if kind in conditions]
    for kind in (*ALWAYS, *told):
        condition = conditions.get(kind)
        if condition is None:
            return f"{parent} has not reported {kind} yet"
        seen = observed_generation(condition)
        if (seen or 0) < generation and not (seen is None and kind in told):
            return f"{parent} has not seen generation {generation} yet ({kind})"
        if condition.get("status") != "True":
            why = f"{condition.get('reason')}: {condition.get('message')}"
            return f"{kind} is {condition.get('status')} at {parent} ({why})"
    invalid = conditions.get("PartiallyInvalid", {})
    if invalid.get("status") == "True":
        return f"partially invalid at {parent}: {invalid.get('message')}"
    return None


def restarted_at(status: K8sObject) -> float:
    """When a container's last run ended (Unix seconds), or else when its present one began; minus infinity
    for one that never was restarted."""
    if not status.get("restartCount"):
        return -math.inf
    ended = moment(part(status, "lastState", "terminated").get("finishedAt"))
    began = moment(part(status, "state", "running").get("startedAt"))
    return ended or began or -math.inf
