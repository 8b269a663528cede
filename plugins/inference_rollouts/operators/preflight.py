"""Preflight: read everything the rollout relies on, refuse what cannot work, write nothing."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from inference_rollouts.core import route as routes
from inference_rollouts.core.counts import missing, window
from inference_rollouts.core.errors import ClusterRefused, PlanInvalid, RouteRefused
from inference_rollouts.core.frozen import Frozen
from inference_rollouts.core.judge import problems
from inference_rollouts.core.manifests import clone_for, is_optional, is_ours, owned, render
from inference_rollouts.core.plan import Plan, apply_parameters, manifest_values, parse_plan
from inference_rollouts.core.power import markdown, shortfalls, sights, traffic_of
from inference_rollouts.core.readiness import Phase, gateway_name, pool_readiness, ready_pods, route_readiness
from inference_rollouts.hooks.cluster import ClusterHook
from inference_rollouts.hooks.include import load_manifests, load_metric_set
from inference_rollouts.hooks.observation import pods_of, snapshot
from inference_rollouts.hooks.prometheus import PrometheusHook
from inference_rollouts.hooks.traffic import GATEWAY_API, POOL_API
from inference_rollouts.operators.base import run_identity

# Where objectives and rewrites live, newest first; a cluster is asked which it serves.
EXTENSION_APIS = ("llm-d.ai/v1alpha2", "inference.networking.x-k8s.io/v1alpha2")
TRAFFIC_SEEN = 120.0  # seconds before the rollout from which its power is told
CLONED_KINDS = ("InferenceObjective", "InferenceModelRewrite")


class Preflight(BaseOperator):
    """Checks plan, route, pools, cluster and Prometheus, then freezes what later tasks read."""

    ui_color = "#e8f0fe"

    def __init__(self, *, plan: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Context) -> dict[str, Any]:
        plan = apply_parameters(parse_plan(self.plan), context["params"])
        cluster = ClusterHook(plan.connections.kubernetes, plan.namespace)
        prometheus = PrometheusHook(plan.connections.prometheus)
        frozen = freeze(plan, run_identity(context), cluster, prometheus)
        table, missed = check_power(prometheus, frozen, time.time())
        self.log.info("what each step can see:\n%s", table)
        for sentence in missed:
            self.log.warning("%s", sentence)
        context["ti"].xcom_push(key="power", value=table)
        weights = [step.weight for step in plan.steps]
        self.log.info("%s -> %s on %s: weights %s", plan.stable, plan.canary, plan.route.name, weights)
        return frozen.to_json()


class InvalidPlan(BaseOperator):
    """Stands for a plan that could not be read."""

    def __init__(self, *, mistake: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mistake = mistake

    def execute(self, context: Context) -> None:
        raise PlanInvalid(f"{self.mistake} Nothing was written.")


def freeze(plan: Plan, run: str, cluster: ClusterHook, prometheus: PrometheusHook) -> Frozen:
    """Everything that later tasks read. Raises a RolloutError, one sentence, for what cannot work."""
    metric_set = load_metric_set(plan.metrics)
    if wrong := problems(plan.analysis, metric_set):
        raise PlanInvalid(f"The plan is invalid: {' '.join(wrong)}")
    gateway = _check_route(cluster, plan, run)
    _check_pools(cluster, plan, gateway, run)
    manifests = _manifests(cluster, plan)
    _check_manifests(cluster, plan, manifests)
    frozen = Frozen(run, plan, gateway, metric_set, tuple(manifests))
    _check_metrics(prometheus, frozen)
    return frozen


def _check_route(cluster: ClusterHook, plan: Plan, run: str) -> str:
    """The route may be moved as the plan says. Returns the name of its gateway."""
    route = cluster.find(GATEWAY_API, "HTTPRoute", plan.route.name)
    if route is None:
        raise RouteRefused(f"There is no HTTPRoute {plan.route.name} in namespace {plan.namespace}.")
    held = routes.read_record(route)
    if held is not None and held.run != run:
        raise RouteRefused(
            f"HTTPRoute {plan.route.name} is held by rollout {held.run}, which gives {held.canary} "
            f"{held.percent} %; wait for it to end, or clear its rollback task."
        )
    if held is None:
        rule = routes.select_rule(route, plan.stable, plan.route.rule)
        routes.check_rule(route, rule, plan.stable, plan.canary)
    gateway = gateway_name(route, plan.route.gateway)
    if gateway is None:
        parents = ", ".join(parent["name"] for parent in route["spec"].get("parentRefs", ())) or "none"
        raise RouteRefused(
            f"HTTPRoute {plan.route.name} has the gateways {parents}; "
            "set `route.gateway` in the plan to one of them."
        )
    if (seen := route_readiness(route, gateway)).phase is not Phase.READY:
        raise RouteRefused(f"The route does not work as it is: {seen.message}.")
    return gateway


def _check_pools(cluster: ClusterHook, plan: Plan, gateway: str, run: str) -> None:
    """The stable pool serves and can take all traffic back; the canary's names are free, or this plan's."""
    pool = cluster.find(POOL_API, "InferencePool", plan.stable)
    if pool is None:
        raise ClusterRefused(f"There is no InferencePool {plan.stable} in namespace {plan.namespace}.")
    if (seen := pool_readiness(pool, gateway)).phase is not Phase.READY:
        raise ClusterRefused(f"The stable pool does not work as it is: {seen.message}.")
    if not ready_pods(pods_of(cluster, plan.stable)):
        raise ClusterRefused(
            f"InferencePool {plan.stable} has no ready pod, so it could not take traffic back."
        )
    for route in cluster.select(GATEWAY_API, "HTTPRoute"):
        if routes.carries(route, plan.canary) and not routes.is_held_by(route, run):
            raise RouteRefused(
                f"HTTPRoute {route['metadata']['name']} sends traffic to InferencePool {plan.canary}; "
                "a canary must be a pool that serves nobody yet."
            )
    for api, kind in (("apps/v1", "Deployment"), (POOL_API, "InferencePool")):
        existing = cluster.find(api, kind, plan.canary)
        if existing is not None and not is_ours(existing, plan.name):
            raise ClusterRefused(
                f"{kind} {plan.canary} exists and was not created by a rollout of plan {plan.name}; "
                "choose another name for the canary."
            )


def _manifests(cluster: ClusterHook, plan: Plan) -> list[dict[str, Any]]:
    """What the rollout will apply: rendered templates, and clones of the stable pool's objectives."""
    values = manifest_values(plan)
    rendered = [render(template, values) for template in load_manifests()]
    wanted = [
        manifest
        for manifest in rendered
        if not is_optional(manifest) or cluster.serves(manifest["apiVersion"], manifest["kind"])
    ]
    return [owned(manifest, plan.name) for manifest in [*wanted, *_clones(cluster, plan)]]


def _clones(cluster: ClusterHook, plan: Plan) -> list[dict[str, Any]]:
    """The stable pool's objectives and rewrites, for the canary, in the group that this cluster serves."""
    clones: list[dict[str, Any]] = []
    for kind in CLONED_KINDS:
        served = next((api for api in EXTENSION_APIS if cluster.serves(api, kind)), None)
        things = cluster.select(served, kind) if served else []
        clones += [
            clone_for({**thing, "apiVersion": served, "kind": kind}, plan.stable, plan.canary)
            for thing in things
            if thing["spec"].get("poolRef", {}).get("name") == plan.stable
        ]
    return clones


def _check_manifests(cluster: ClusterHook, plan: Plan, manifests: list[dict[str, Any]]) -> None:
    """The cluster would accept every manifest, and none of them would overwrite somebody else's object."""
    for manifest in manifests:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        existing = cluster.find(manifest["apiVersion"], kind, name)
        if existing is not None and not is_ours(existing, plan.name):
            raise ClusterRefused(
                f"{kind} {name} exists and is not this plan's; choose another name for the canary."
            )
        cluster.apply(manifest, dry_run=True)


def _check_metrics(prometheus: PrometheusHook, frozen: Frozen) -> None:
    """Prometheus answers and knows what the judge needs of the stable pool."""
    plan = frozen.plan
    seen = snapshot(prometheus, frozen, time.time())
    if lacking := missing(frozen.metric_set, plan.arm(plan.stable), seen):
        raise ClusterRefused(
            f"The judge would be blind: Prometheus lacks {'; '.join(lacking)}. Scrape the pods of "
            f"{plan.stable} with the labels inference_pool={plan.stable} and namespace={plan.namespace} "
            "(docs/operations.md)."
        )


def check_power(prometheus: PrometheusHook, frozen: Frozen, now: float) -> tuple[str, list[str]]:
    """What each step can see at the traffic of the last minutes: a table, and what it may miss.

    Raises PlanInvalid when something may be missed and the plan says to refuse then.
    """
    plan, policy = frozen.plan, frozen.plan.analysis
    before, after = (snapshot(prometheus, frozen, at) for at in (now - TRAFFIC_SEEN, now))
    seen = window(frozen.metric_set, plan.arm(plan.canary), plan.arm(plan.stable), before, after)
    steps = [(step.weight, step.bake) for step in plan.steps]
    found = sights(policy, frozen.metric_set, steps, traffic_of(frozen.metric_set, [seen] if seen else []))
    missed = shortfalls(policy, found)
    if not found and any(weight < 100 for weight, _ in steps):
        missed = [
            f"Nothing was counted in the last {TRAFFIC_SEEN:.0f} s, so nobody knows what the steps can see."
        ]
    if missed and policy.when_blind == "refuse":
        raise PlanInvalid(f"The steps are too short for what analysis.catch asks: {' '.join(missed)}")
    return markdown(policy, found), [] if policy.when_blind == "ignore" else missed
