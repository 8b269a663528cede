"""Everything that is read and refused before a rollout touches anything. Nothing here writes."""

from __future__ import annotations

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.clients.prometheus import PrometheusHook
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.judge import problems
from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.manifests import Manifest
from inference_rollouts.preflight import (
    capacity,
    creation,
    hardware,
    lora,
    measuring,
    policies,
    pools,
    routing,
    trial,
)
from inference_rollouts.preflight.adapters import with_adapters


def freeze(plan: Plan, run: str, cluster: ClusterHook, prometheus: PrometheusHook) -> Frozen:
    """Everything that later tasks read. Raises a RolloutError, one sentence, for what cannot work."""
    metric_set = load_metric_set(plan.metrics)
    if wrong := problems(plan.analysis, metric_set):
        raise PlanInvalid(f"The plan is invalid: {' '.join(wrong)}")
    targets = routing.targets(cluster, plan, run)
    gateway = ""
    manifests: list[Manifest] = []
    previews: list[Manifest] = []
    if isinstance(plan, PoolPlan):
        gateway = routing.gateway(cluster, plan, targets)
    pools.check_stable(cluster, plan, gateway)
    if isinstance(plan, AdapterPlan):
        lora.check(cluster, plan, targets)
    if isinstance(plan, PoolPlan):
        pools.check_canary(cluster, plan, run)
        plan = with_adapters(cluster, plan)
        stable = pools.routed_pool(cluster, plan, targets)
        manifests = creation.manifests(cluster, plan, stable)
        previews = trial.previews(cluster, plan, run, targets)
        policies.check(cluster, plan, manifests)
        creation.check(cluster, plan, [*manifests, *previews])
        trial.check_mirror(cluster, plan, run, gateway, targets)
        hardware.check_nodes(cluster, plan, run, manifests)
    shared = routing.others(cluster, plan, targets)
    usual = capacity.count_stable(cluster, plan)
    frozen = Frozen(run, plan, gateway, targets, metric_set, tuple(manifests), usual, shared, tuple(previews))
    measuring.check_metrics(prometheus, frozen)
    if isinstance(plan, PoolPlan):
        capacity.check(cluster, prometheus, frozen)
    return frozen
