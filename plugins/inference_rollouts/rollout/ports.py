"""The servers of one pod, where pools have several ports: how metrics may call each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.core.judging.arms import Ports
from inference_rollouts.core.objects.inference_pool import port_spellings
from inference_rollouts.core.objects.k8s import K8sObject, part
from inference_rollouts.core.objects.workload_kinds import is_workload, pod_templates
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.rollout.pods import pods_of
from inference_rollouts.rollout.targets import find_pool


def ports_of(cluster: Reader, plan: Plan, manifests: Sequence[K8sObject] = ()) -> Mapping[str, Ports]:
    """By side of a plan those of its pool, which is there or in the manifests; none where pods have one."""
    templates = [each for manifest in manifests if is_workload(manifest) for each in pod_templates(manifest)]
    pools = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "InferencePool"}
    found = {}
    for side in (plan.canary, plan.stable):
        name = plan.pool_of(side)
        if name in pools:
            found[side] = port_spellings(pools[name], _specs(templates))
        else:
            found[side] = ports_of_pool(cluster, name)
    return {side: ports for side, ports in found.items() if ports}


def ports_of_pool(cluster: Reader, name: str) -> Ports:
    """The same of one pool that is there."""
    pool = find_pool(cluster, name)
    return port_spellings(pool, _specs(pods_of(cluster, name))) if pool else ()


def _specs(pods: Iterable[K8sObject]) -> list[K8sObject]:
    return [part(each, "spec") for each in pods]
