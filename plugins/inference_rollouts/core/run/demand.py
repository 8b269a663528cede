"""What the canary's pods need of nodes: so many of each sort, workers of a group among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inference_rollouts.core.objects.k8s import K8sObject, part, parts
from inference_rollouts.core.objects.quantities import units
from inference_rollouts.core.objects.readiness import Replicas
from inference_rollouts.core.objects.workload_kinds import pods_of_sorts, servers_among, words
from inference_rollouts.core.plan.plan import PoolPlan


def replicas_wanted(plan: PoolPlan, manifests: Sequence[K8sObject]) -> tuple[Replicas, ...]:
    """The pods that manifests are of and that take accelerators; as the plan says where none of them does."""
    work = plan.workload
    templates = [sort for each in servers_among(manifests) for sort in pods_of_sorts(each)]
    resource = work.accelerator.resource
    wanted = tuple(
        Replicas(count, taken, resource, tolerations_of(template), selector_of(template), _in(plan, template))
        for template, count in templates
        if (taken := sum(_units(template, resource)))
    )
    tolerations = [each for template, _ in templates for each in tolerations_of(template)]
    return wanted or (Replicas(work.replicas, work.accelerator.per_replica, resource, tolerations),)


def _in(plan: PoolPlan, template: K8sObject) -> K8sObject:
    """A template as a pod of the plan's namespace, by which rules of affinity choose too."""
    metadata = {**part(template, "metadata"), "namespace": plan.namespace}
    return {"metadata": metadata, "spec": part(template, "spec")}


def tolerations_of(template: K8sObject) -> list[K8sObject]:
    return parts(template, "spec", "tolerations")


def selector_of(template: K8sObject) -> dict[str, str]:
    return words(part(template, "spec", "nodeSelector"))


def _units(template: K8sObject, resource: str) -> Iterator[int]:
    for container in parts(template, "spec", "containers"):
        resources = [part(container, "resources", side) for side in ("limits", "requests")]
        yield next((units(each[resource]) for each in resources if resource in each), 0)
