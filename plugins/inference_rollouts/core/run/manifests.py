"""Manifest templates: YAML trees whose leaves may name values, filled in without touching text.

A placeholder is `${name}` in a string leaf. A leaf that is nothing but a placeholder takes the value
with its type; inside a list it may be replaced by several items. Values never pass through YAML, so no
value can add a field or end a string.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.objects.k8s import K8sObject, annotations_of, group_of, labels_of
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.plan.plan import PoolPlan

Serves = Callable[[str, str], bool]

APPLY = "inference-rollouts.dev/apply"
UNLESS_TAKEN_OVER = "unless-taken-over"

_PLACEHOLDER = re.compile(r"\$\{([a-z_]+)\}")


def render(template: Any, values: Mapping[str, Any]) -> Any:
    """The tree with every placeholder replaced; raises PlanInvalid for one that has no value."""
    match template:
        case Mapping():
            return {key: render(item, values) for key, item in template.items()}
        case list():
            return [out for item in template for out in _items(item, values)]
        case str():
            return _leaf(template, values)
        case _:
            return template


def manifest_values(plan: PoolPlan, stable: Mapping[str, Any]) -> dict[str, Any]:
    """The values that manifest templates may name; `stable` is the InferencePool that serves today."""
    work = plan.workload
    return {
        "namespace": plan.namespace,
        "pool": plan.canary,
        "pool_group": group_of(stable),
        "picker": f"{plan.canary}-epp",
        "picker_image": plan.picker.image,
        "failure_mode": plan.picker.failure_mode,
        "image": work.image,
        "model": work.model,
        "served_model_name": work.served_model_name,
        "replicas": work.replicas,
        "port": work.port,
        "args": list(work.args),
        "adapter_args": work.adapter_args,
        "adapter_env": work.adapter_env,
        "node_selector": plan.node_selector,
        "node_tolerations": plan.nodes.tolerations_for(plan.canary),
        "accelerator_resource": work.accelerator.resource,
        "accelerators": {work.accelerator.resource: str(work.accelerator.per_replica)},
        "ready_deadline": int(plan.deadlines.ready),
        "progress_deadline": progress_deadline(plan),
    }


def progress_deadline(plan: PoolPlan) -> int:
    """How long a new Deployment may make no progress, in seconds: as long as the rollout waits for it."""
    return int(plan.deadlines.ready + (plan.deadlines.nodes if plan.pods_bring_nodes else 0))


def is_wanted(manifest: Mapping[str, Any], stable: Mapping[str, Any], serves: Serves) -> bool:
    """Whether a manifest is for a cluster that `serves` these kinds, beside the InferencePool `stable`.

    `where-served` is for clusters that have its kind (GKE's policies, say), `unless-taken-over` too, where
    nothing of that kind is copied from stable. Of those that are `like-stable`
    only the one in stable's own API version is applied, since a route names both pools in one API group.
    """
    match annotations_of(manifest).get(APPLY):
        case None:
            return True
        case "where-served" | "unless-taken-over":
            return serves(manifest["apiVersion"], manifest["kind"])
        case "like-stable":
            return bool(manifest["apiVersion"] == stable["apiVersion"])
        case other:
            raise PlanInvalid(
                f"{manifest['kind']} has the annotation {APPLY} {other!r}; "
                "known are where-served, unless-taken-over, like-stable."
            )


def is_spare(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is only for clusters where stable has nothing of its kind."""
    return bool(annotations_of(manifest).get(APPLY) == UNLESS_TAKEN_OVER)


def owned(manifest: Mapping[str, Any], plan: str, pool: str | None = None) -> K8sObject:
    """The manifest with the labels that say whose it is, for which pool, and without our own directives."""
    meta = dict(manifest["metadata"])
    meta["labels"] = {**labels_of(manifest), **owner_labels(plan, pool)}
    annotations = {k: v for k, v in (meta.pop("annotations", None) or {}).items() if k != APPLY}
    if annotations:
        meta["annotations"] = annotations
    return {**manifest, "metadata": meta}


def clone_for(obj: Mapping[str, Any], stable: str, canary: str) -> K8sObject:
    """An InferenceObjective or InferenceModelRewrite with the same content for the canary pool."""
    name = obj["metadata"]["name"]
    new_name = name.replace(stable, canary, 1) if stable in name else f"{name}-{canary}"
    spec = {**obj["spec"], "poolRef": {**obj["spec"]["poolRef"], "name": canary}}
    meta = {"name": new_name, "namespace": obj["metadata"]["namespace"]}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta, "spec": spec}


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form, by which two frozen rollouts differ."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _items(item: Any, values: Mapping[str, Any]) -> Sequence[Any]:
    rendered = render(item, values)
    spliced = isinstance(item, str) and isinstance(rendered, list | tuple)
    return rendered if spliced else [rendered]


def _leaf(text: str, values: Mapping[str, Any]) -> Any:
    if whole := _PLACEHOLDER.fullmatch(text):
        return _value(whole[1], values)
    return _PLACEHOLDER.sub(lambda match: str(_value(match[1], values)), text)


def _value(name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        raise PlanInvalid(
            f"A manifest names ${{{name}}}, which has no value; known are {', '.join(sorted(values))}."
        )
    return values[name]
