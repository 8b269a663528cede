"""What waiting tasks wait for: each check reads the cluster and answers with a phase."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from inference_rollouts.core.errors import ClusterRefused, RolloutError
from inference_rollouts.core.nodes.placement import placement_readiness, unplaced
from inference_rollouts.core.objects.api_groups import GATEWAY_API, POLICY_KINDS
from inference_rollouts.core.objects.k8s import K8sObject, created_at
from inference_rollouts.core.objects.readiness import (
    Phase,
    Readiness,
    policy_readiness,
    pool_readiness,
    route_readiness,
    worst,
)
from inference_rollouts.core.objects.workload_kinds import (
    is_workload,
    pod_count,
    servers_among,
)
from inference_rollouts.core.objects.workloads import demand_of, in_question, unmade, workload_readiness
from inference_rollouts.core.routing.claim import Phase as ClaimPhase
from inference_rollouts.core.routing.control import aborted, too_long
from inference_rollouts.rollout.control import Control
from inference_rollouts.rollout.nodes import Present, Provisioner, provisioner_of
from inference_rollouts.rollout.retrying import later
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.shared_pods import refused_shared_pods
from inference_rollouts.rollout.switch import read_switch
from inference_rollouts.rollout.targets import find_pool
from inference_rollouts.rollout.workloads import pods_of_workload

Check = Callable[..., Readiness]  # of a Run and, where a check takes one, its argument


def check_now(run: Run, check: str) -> Readiness:
    """The answer of `check`, a name in CHECKS or `name:argument`.

    A cluster that does not answer is waited for; one that refuses has failed.
    """
    name, _, argument = check.partition(":")
    try:
        return CHECKS[name](run, *filter(None, [argument]))
    except RolloutError as error:
        return Readiness(Phase.FAILED, str(error))
    except Exception as error:
        words = f"the cluster does not answer: {error}"
        return Readiness(Phase.WAITING, words, answered=False, later=later(error))


def nodes_of(run: Run) -> Provisioner:
    """How this run provisions the canary's nodes."""
    plan = run.plan.as_pool_plan
    if run.frozen.adopted:
        return Present()
    return provisioner_of(run.clients, plan, plan.canary, run.frozen.run, run.frozen.manifests)


def nodes(run: Run) -> Readiness:
    """Ready nodes with enough free accelerators for every replica of the canary."""
    return nodes_of(run).readiness()


def nodes_gone(run: Run) -> Readiness:
    """What this run created to have nodes is deleted."""
    return nodes_of(run).take_back()


def placement(run: Run) -> Readiness:
    """Every pod of the canary has a node."""
    servers = servers_among(run.frozen.manifests)
    wanted = 0
    pods: list[K8sObject] = []
    reasons: list[str] = []
    for manifest in servers:
        live = run.cluster.get(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        own = pods_of_workload(run.cluster, live)
        lacking = run.cluster.events_about(live) if len(own) < pod_count(live) else []
        reasons.append(unmade(live, own, lacking))
        wanted, pods = wanted + pod_count(manifest), pods + own
    waiting = unplaced(pods)
    events = run.cluster.events_about(waiting[0]) if waiting else []
    return placement_readiness(pods, wanted, events, next(filter(None, reasons), ""))


def workloads(run: Run) -> Readiness:
    """Every workload that the rollout applied runs its current template with the pods that it needs."""
    if (refusal := refused_shared_pods(run)) is not None:
        return refusal
    frozen, answers = run.frozen, []
    for manifest in frozen.manifests:
        if is_workload(manifest):
            live = run.cluster.get(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
            pods = pods_of_workload(run.cluster, live)
            since = max(frozen.began, created_at(live) or 0.0)
            demand = demand_of(manifest, frozen.manifests)
            events = [event for each in in_question(live, pods) for event in run.cluster.events_about(each)]
            answers.append(workload_readiness(live, pods, since, run.cluster.time(), demand, events))
    return worst(answers)


def attachment(run: Run) -> Readiness:
    """All parents accepted the canary pool, its policies, and every route that now names it, previews too."""
    cluster, frozen = run.cluster, run.frozen
    pool = find_pool(cluster, frozen.plan.canary)
    if pool is None:
        raise ClusterRefused(f"InferencePool {frozen.plan.canary} is gone.")
    asked = {target.name: frozen.parents_for(target.name) for target in frozen.targets}
    asked |= {
        preview["metadata"]["name"]: asked[target.name]
        for target, preview in zip(frozen.targets, frozen.previews, strict=False)
    }
    policies = [
        cluster.get(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        for manifest in frozen.manifests
        if manifest["kind"] in POLICY_KINDS
    ]
    return worst(
        [
            pool_readiness(pool, frozen.parents),
            *(policy_readiness(policy) for policy in policies),
            *(
                route_readiness(cluster.get(GATEWAY_API, "HTTPRoute", name), parents)
                for name, parents in asked.items()
            ),
        ]
    )


def capacity(run: Run, step: str) -> Readiness:
    """The pools have room for what step `step` (from 1) gives the canary, and their pickers work."""
    return run.kind.room(run, run.plan.all_steps[int(step) - 1])


def free(run: Run) -> Readiness:
    """Nobody has paused the rollout, or stopped all; has somebody aborted it, nothing is waited for."""
    control = Control(run.cluster, run.frozen.targets, run.frozen.token)
    claims = control.obey(run.traffic.claims(), partial(read_switch, run.cluster))
    if command := aborted(claims):
        return Readiness(Phase.FAILED, f"aborted by {command}")
    if words := too_long(claims, run.cluster.time()):
        return Readiness(Phase.FAILED, words.rstrip("."))
    if paused := next((claim for claim in claims if claim.phase is ClaimPhase.PAUSED), None):
        return Readiness(Phase.WAITING, f"paused by {paused.command}")
    return Readiness(Phase.READY, "nobody holds it")


CHECKS: dict[str, Check] = {
    "nodes": nodes,
    "nodes_gone": nodes_gone,
    "placement": placement,
    "workloads": workloads,
    "attachment": attachment,
    "capacity": capacity,
    "free": free,
}
