"""May a pool or an adapter be taken away: who uses it, and what goes first."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.objects.api_groups import POOL_GROUPS
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.ownership import is_ours
from inference_rollouts.core.objects.workload_kinds import WORKLOAD_KINDS
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.plan.workload import AS_STABLE
from inference_rollouts.core.routing.claim import read_claim
from inference_rollouts.core.routing.other_routes import naming
from inference_rollouts.core.routing.rules import entries_of, rules_of, spelling_of
from inference_rollouts.core.routing.weights import SPELLINGS, weights_of
from inference_rollouts.core.run.preview import run_of

Patch = list[dict[str, Any]]

# First goes what refers to the pool, then the pool, what else was created for it, and the pods last of all.
_FIRST = ("InferenceObjective", "InferenceModelRewrite", "InferencePool")
_LAST = (*sorted(WORKLOAD_KINDS), "Service")


@dataclass(frozen=True, slots=True)
class RetiredObject:
    """An object that goes, as it was read: one of the same name that came later has another uid."""

    api: str
    kind: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Retirement:
    """What is taken away, decided: `name` is a pool, or the adapter of a plan for adapters."""

    plan: Plan
    name: str
    action: Action
    objects: tuple[RetiredObject, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan.model_dump(mode="json"),
            "name": self.name,
            "action": self.action.value,
            "objects": [asdict(obj) for obj in self.objects],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Retirement:
        objects = tuple(RetiredObject(**obj) for obj in value["objects"])
        return cls(parse_plan(value["plan"]), value["name"], Action(value["action"]), objects)


def latest(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What rollouts announced: of several events about the same pool or adapter only the last one counts."""
    last: dict[str, dict[str, Any]] = {}
    for event in sorted(events, key=lambda event: event["since"]):
        last[event["name"]] = {key: event[key] for key in ("name", "action", "since")}
    return list(last.values())


def retired_objects(objects: Sequence[K8sObject], plan: str) -> tuple[RetiredObject, ...]:
    """The objects of the plan among `objects`, in the order in which they go and nothing is lost."""
    mine = [obj for obj in objects if is_ours(obj, plan)]
    return tuple(
        RetiredObject(obj["apiVersion"], obj["kind"], obj["metadata"]["name"], obj["metadata"]["uid"])
        for obj in sorted(mine, key=lambda obj: _rank(obj["kind"]))
    )


def user_of_pool(routes: Sequence[K8sObject], pool: str, namespace: str) -> str:
    """The first reason why requests may go to a pool, or a rollout count on it; empty when there is none."""
    return next((why for route in routes for why in _uses(route, pool, namespace)), "")


def user_among_others(routes: Sequence[K8sObject], pool: str, namespace: str) -> str:
    """The first of these, of kinds that no rollout moves, that names a pool anywhere; empty if none does."""
    titles = naming(routes, pool, namespace)
    return next((f"{title} names {pool}, and only people can take it out there" for title in titles), "")


def user_of_adapter(bound: Sequence[K8sObject], adapter: str) -> str:
    """The same for an adapter, from what is bound to its pool: rewrites and InferenceModels count."""
    for obj in (obj for obj in bound if obj["kind"] in SPELLINGS):
        name, claim = f"{obj['kind']} {obj['metadata']['name']}", read_claim(obj)
        if claim and adapter in (claim.stable, claim.canary):
            return f"{name} is claimed by rollout {claim.owner.run}, which counts on {adapter}"
        entries = [entry for rule in rules_of(obj).values() for entry in entries_of(obj, rule)]
        if adapter in {entry[spelling_of(obj).name] for entry in entries}:
            return f"{name} sends requests to {adapter}"
    return ""


def sole_backend(routes: Sequence[K8sObject], pool: str, namespace: str) -> str:
    """The first rule that would be left without any backend, or is not ours to write; empty if none."""
    for route in routes:
        name = f"HTTPRoute {route['metadata']['name']}"
        for path, rule in rules_naming(route, pool, namespace).items():
            where = f"rule {path.rsplit('/', 1)[1]} of {name}"
            if route["metadata"]["namespace"] != namespace:
                return f"{where} in namespace {route['metadata']['namespace']} names {pool}"
            if all(_is_pool(ref, route, pool, namespace) for ref in rule["backendRefs"]):
                return f"{where} has no backend but {pool}"
    return ""


def rules_naming(route: K8sObject, pool: str, namespace: str) -> dict[str, K8sObject]:
    """The rules of a route that name a pool, whatever its weight there, by JSON pointer."""
    return {
        path: rule
        for path, rule in rules_of(route).items()
        if any(_is_pool(ref, route, pool, namespace) for ref in rule.get("backendRefs") or ())
    }


def detach_patch(route: K8sObject, pool: str, namespace: str) -> Patch:
    """Take a pool out of every rule that names it, if nobody wrote to the route since it was read."""
    rules = rules_naming(route, pool, namespace)
    if not rules:
        return []
    patch: Patch = [
        {"op": "test", "path": "/metadata/uid", "value": route["metadata"]["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": route["metadata"]["resourceVersion"]},
    ]
    for path, rule in rules.items():
        rest = [ref for ref in rule["backendRefs"] if not _is_pool(ref, route, pool, namespace)]
        patch += [
            {"op": "test", "path": path, "value": rule},
            {"op": "replace", "path": f"{path}/backendRefs", "value": rest},
        ]
    return patch


def uses_accelerator(pod: K8sObject, nodes: Container[str], resource: str) -> bool:
    """Whether a pod works with accelerators of one of these nodes, of any kind if `resource` names none."""
    spec = pod["spec"]
    asked = (each.get("resources", {}).get("limits") or {} for each in spec.get("containers") or ())
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    wanted = any(
        name == resource or (resource == AS_STABLE and "/" in name) for limits in asked for name in limits
    )
    return spec.get("nodeName") in nodes and not ended and wanted


def by_hand(plan: Plan, pool: str) -> str:
    """What a person does with a pool that no rollout created."""
    kubectl = f"kubectl -n {plan.namespace}"
    return (
        f"InferencePool {pool} was not created by a rollout of plan {plan.name}, so it is not deleted. "
        f"When nothing has run in it for {format_duration(plan.retention.longest_stream)}: take it out of "
        f"the routes (`{kubectl} edit httproute`), then `{kubectl} delete inferencepool {pool}`, then "
        f"`{kubectl} scale deployment/{pool} --replicas=0`, and when its pods are gone "
        f"`{kubectl} delete deployment/{pool} deployment/{pool}-epp service/{pool}-epp`."
    )


def _uses(route: K8sObject, pool: str, namespace: str) -> Iterator[str]:
    name, rules = f"HTTPRoute {route['metadata']['name']}", rules_naming(route, pool, namespace)
    claim = read_claim(route) if rules else None
    if rules and (holder := claim.owner.run if claim else run_of(route)):
        yield f"{name} names {pool} and is claimed by rollout {holder}"
    for rule in rules.values():
        weights = weights_of(rule["backendRefs"], spelling_of(route))
        given = zip(rule["backendRefs"], weights, strict=True)
        if share := sum(weight for ref, weight in given if _is_pool(ref, route, pool, namespace)):
            yield f"{name} gives {pool} weight {share}"
    for rule in rules_of(route).values():
        for kind in rule.get("filters") or ():
            if _is_pool(kind.get("requestMirror", {}).get("backendRef", {}), route, pool, namespace):
                yield f"{name} mirrors requests to {pool}"


def _is_pool(ref: K8sObject, route: K8sObject, pool: str, namespace: str) -> bool:
    """Whether a backendRef of a route means the pool of this name and namespace."""
    where = ref.get("namespace", route["metadata"]["namespace"])
    named = (ref.get("kind"), ref.get("name"), where) == ("InferencePool", pool, namespace)
    return named and ref.get("group") in POOL_GROUPS


def _rank(kind: str) -> int:
    if kind in _LAST:
        return len(_FIRST) + 1 + _LAST.index(kind)
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
