"""`workload: like-stable`: the canary's pool, servers and picker are stable's, with the plan's changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from inference_rollouts.core.errors import ClusterRefused, PlanInvalid
from inference_rollouts.core.nodes.provisioners import (
    ACCELERATOR_LABEL,
    CLASS_LABEL,
    MACHINE_LABEL,
    POOL_LABEL,
    TPU_LABEL,
    ComputeClass,
    ExistingNodes,
    Nodes,
)
from inference_rollouts.core.objects.inference_pool import ports
from inference_rollouts.core.objects.k8s import K8sObject, part, parts, title_of
from inference_rollouts.core.objects.quantities import units
from inference_rollouts.core.objects.succession import POOL_LABEL as METRICS_LABEL
from inference_rollouts.core.objects.succession import Succession
from inference_rollouts.core.objects.workload_kinds import (
    endpoint_template,
    is_updating,
    pod_templates,
    replicas_of,
    with_templates,
    words,
)
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.plan.workload import AS_STABLE, Accelerator
from inference_rollouts.core.run.manifests import progress_deadline
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.engines import vllm

# The labels of nodes that say what hardware they are: other nodes in a plan take their place.
HARDWARE = (
    ACCELERATOR_LABEL,
    TPU_LABEL,
    "cloud.google.com/gke-tpu-topology",
    CLASS_LABEL,
    POOL_LABEL,
    MACHINE_LABEL,
)


def resolved(
    plan: PoolPlan, pool: K8sObject, workloads: Sequence[K8sObject], served: Sequence[Served]
) -> PoolPlan:
    """The plan with all that it leaves as on stable, whose InferencePool and workloads these are.

    `served` is what one of its pods answers for. Raises ClusterRefused or PlanInvalid where that cannot be.
    """
    work = plan.workload
    if not workloads:
        raise ClusterRefused(
            f"No Deployment, StatefulSet or LeaderWorkerSet has the pods of InferencePool {plan.stable}, and "
            "`like: stable` takes over these alone: put what runs there, with placeholders, into "
            "include/manifests."
        )
    _require_settled(workloads)
    bases = [each for each in served if each.parent is None]
    if not bases:
        raise ClusterRefused(
            f"The pods of {plan.stable} list no model in /v1/models: nobody knows what to serve."
        )
    if work.replicas and len(workloads) > 1:
        names = ", ".join(each["metadata"]["name"] for each in workloads)
        raise PlanInvalid(
            f"The plan is invalid: workload.replicas says nothing of {plan.stable}'s several workloads "
            f"({names}), which keep their sizes; leave it out."
        )
    container = server_of(workloads[0])
    options: dict[str, tuple[str, ...]] = dict(vllm.server_options(container))
    options |= vllm.options(work.args)
    # Names that clients know stay theirs, whatever model is loaded.
    options.setdefault(vllm.NAMES_FLAG, tuple(dict.fromkeys(each.name for each in bases)))
    for given in ("", "--lora-modules", "--enable-lora"):
        options.pop(given, None)
    update = {
        "image": _given(work.image, str(container.get("image"))),
        "model": _given(work.model, bases[0].path),
        "served_model_name": _given(work.served_model_name, bases[0].name),
        "replicas": work.replicas or sum(map(replicas_of, workloads)),
        "port": (ports(pool) or [work.port])[0],
        "args": tuple(vllm.spelled(options)),
        "accelerator": _accelerator(work.accelerator, container),
    }
    nodes: Nodes = plan.nodes
    if is_unsaid(plan):
        nodes = _nodes_like([template for each in workloads for template in pod_templates(each)])
    return plan.model_copy(update={"workload": work.model_copy(update=update), "nodes": nodes})


def _require_settled(workloads: Sequence[K8sObject]) -> None:
    """Raises ClusterRefused where what serves is not what a template says."""
    if updating := [title_of(each) for each in workloads if is_updating(each)]:
        raise ClusterRefused(
            f"Pods of an earlier template of {', '.join(updating)} still serve, and `like: stable` would "
            "copy the newer one: finish that update, which may be paused or wait for pods to be deleted."
        )


def _nodes_like(templates: Iterable[K8sObject]) -> ExistingNodes | ComputeClass:
    """Where pods of these templates get their nodes: a class brings them once there are such pods.

    Of nodes that are there already the labels that all of them want.
    """
    selectors = [words(part(each, "spec", "nodeSelector")) for each in templates]
    if name := next((each[CLASS_LABEL] for each in selectors if CLASS_LABEL in each), None):
        return ComputeClass(provisioner="compute-class", name=name)
    common = set.intersection(*(set(each.items()) for each in selectors))
    return ExistingNodes(selector=dict(sorted(common)))


def is_unsaid(plan: PoolPlan) -> bool:
    """Whether a plan leaves the nodes as stable's are."""
    return isinstance(plan.nodes, ExistingNodes) and not plan.nodes.selector


def server_of(workload: K8sObject) -> K8sObject:
    """The container of a workload's endpoints that is the model server."""
    return server_in(endpoint_template(workload))


def server_in(template: K8sObject) -> K8sObject:
    """The container of a pod template that is the model server, or does a part of its work.

    It has accelerators, or else it is the first.
    """
    containers = parts(template, "spec", "containers")
    first: K8sObject = containers[0] if containers else {}
    return next((each for each in containers if any(True for _ in _extended(each))), first)


def workload_copy(
    workload: K8sObject, succession: Succession, given: PoolPlan, plan: PoolPlan, *, alone: bool
) -> K8sObject:
    """A workload of stable's servers for the canary, with what a plan, as `given`, changes.

    `plan` is the same as it was resolved; `alone`: it has all pods of the pool.
    """

    copy = succession.copy_of(workload)
    endpoints = endpoint_template(copy)

    def changed(template: K8sObject) -> dict[str, Any]:
        return _template(template, succession, given, plan, serves=template is endpoints)

    made = with_templates(copy, changed)
    made["spec"].pop("paused", None)  # a Deployment that is paused from the first has no pods
    if made["kind"] == "Deployment":  # others have no such deadline
        before = made["spec"].get("progressDeadlineSeconds") or 0
        made["spec"]["progressDeadlineSeconds"] = max(before, progress_deadline(plan))
    if alone:
        made["spec"]["replicas"] = plan.workload.replicas
    return made


def _template(
    template: K8sObject, succession: Succession, given: PoolPlan, plan: PoolPlan, *, serves: bool
) -> dict[str, Any]:
    """A template of the canary's pods: of endpoints, or of workers, whose server may be but a part of one."""
    made = _relabelled(template, succession)
    made["metadata"].setdefault("labels", {})[METRICS_LABEL] = plan.canary
    name, pod = server_in(template).get("name"), made["spec"]
    pod["containers"] = [
        _changed(each, given, plan, serves=serves) if each.get("name") == name else each
        for each in pod["containers"]
    ]
    if not is_unsaid(given):
        kept = {key: value for key, value in (pod.get("nodeSelector") or {}).items() if key not in HARDWARE}
        pod["nodeSelector"] = {**kept, **plan.node_selector}
        wanted = plan.nodes.tolerations_for(plan.canary)
        pod["tolerations"] = [*(pod.get("tolerations") or ()), *wanted]
    return made


def picker_copy(obj: K8sObject, succession: Succession, image: str) -> K8sObject:
    """The Deployment or Service of stable's endpoint picker for the canary: its arguments name that pool."""
    made = succession.copy_of(obj)
    if obj["kind"] == "Service":
        return made
    template = _relabelled(made["spec"]["template"], succession)
    pod = template["spec"]
    for container in pod["containers"]:
        for field in ("command", "args"):
            if field in container:
                container[field] = [_argument(str(word), succession) for word in container[field]]
    if image != AS_STABLE:
        pod["containers"][0]["image"] = image
    made["spec"]["template"] = template
    return made


def _relabelled(template: K8sObject, succession: Succession) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(template))
    meta = made.setdefault("metadata", {})
    meta.pop("creationTimestamp", None)
    labels = meta.get("labels") or {}
    meta["labels"] = {key: succession.labels.get((key, value), value) for key, value in labels.items()}
    return made


def _argument(word: str, succession: Succession) -> str:
    flag, equals, value = word.rpartition("=")
    return f"{flag}{equals}{succession.canary}" if value == succession.stable else word


def _changed(container: K8sObject, given: PoolPlan, plan: PoolPlan, *, serves: bool) -> dict[str, Any]:
    """A server with the plan's image, model, arguments, adapters and accelerators.

    Where it does not itself serve, as a worker that only joins its leader, its arguments are its own.
    """
    work, made = plan.workload, dict(container)
    if given.workload.image != AS_STABLE:
        made["image"] = work.image
    if serves or vllm.starts_server(container):
        made |= vllm.with_options(container, _new_options(vllm.server_options(container), given, plan))
    if given.workload.accelerator.resource != AS_STABLE:
        units = {work.accelerator.resource: str(work.accelerator.per_replica)}
        made["resources"] = {
            **(container.get("resources") or {}),
            **{side: {**_without_extended(container, side), **units} for side in ("requests", "limits")},
        }
    if plan.workload.adapter_env:
        names = {each["name"] for each in plan.workload.adapter_env}
        kept = [each for each in container.get("env") or () if each.get("name") not in names]
        made["env"] = [*kept, *plan.workload.adapter_env]
    return made


def _new_options(before: vllm.Options, given: PoolPlan, plan: PoolPlan) -> vllm.Options:
    """The options that a plan gives a server, as far as it has not had them `before`."""
    work, wanted = plan.workload, dict(vllm.options(given.workload.args))
    if given.workload.model != AS_STABLE and before.get("") != (work.model,):
        wanted[""] = (work.model,)
        wanted.setdefault(vllm.NAMES_FLAG, tuple(vllm.flag_values(work.args, vllm.NAMES_FLAG)))
    wanted |= _adapters(before, plan)
    return {flag: values for flag, values in wanted.items() if before.get(flag) != values}


def _adapters(before: Mapping[str, tuple[str, ...]], plan: PoolPlan) -> dict[str, tuple[str, ...]]:
    """The flags of adapters that the server lacks: those that stable loaded since it started."""
    wanted = vllm.options(plan.workload.adapter_args)
    if set(wanted.get("--lora-modules", ())) == set(before.get("--lora-modules", ())):
        return {}
    return dict(wanted)


def _accelerator(given: Accelerator, container: K8sObject) -> Accelerator:
    if given.resource != AS_STABLE:
        return given
    resource, units = next(_extended(container), ("nvidia.com/gpu", 1))
    return Accelerator(resource=resource, per_replica=units)


def _extended(container: K8sObject) -> Iterator[tuple[str, int]]:
    """The extended resources of a container, such as nvidia.com/gpu, with their units."""
    for side in ("limits", "requests"):
        for name, amount in part(container, "resources", side).items():
            if "/" in name and (whole := units(amount)):
                yield name, whole


def _without_extended(container: K8sObject, side: str) -> dict[str, Any]:
    return {name: units for name, units in part(container, "resources", side).items() if "/" not in name}


def _given(value: str, today: str) -> str:
    return today if value == AS_STABLE else value
