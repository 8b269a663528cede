"""Whether a pool can take traffic now, as the cluster stands."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import K8sObject, part
from inference_rollouts.core.objects.readiness import picker_reference, ready_pods
from inference_rollouts.core.serving.availability import Availability, Picker, availability
from inference_rollouts.rollout.pods import pods_of
from inference_rollouts.rollout.targets import find_pool


def availability_of(
    cluster: Reader, pool: str, pods: Sequence[K8sObject] | None = None, needed: int = 1
) -> Availability:
    """The answer for an InferencePool; `pods` are those it selects where they have been read already."""
    live = find_pool(cluster, pool)
    if live is None:
        return Availability(False, 0, f"There is no InferencePool {pool}.")
    if not pod_labels(live):
        return Availability(False, 0, f"InferencePool {pool} selects pods by nothing.")
    ready = ready_pods(pods_of(cluster, pool) if pods is None else pods)
    return availability(pool, len(ready), _picker(cluster, live), needed)


def picker_pods(cluster: Reader, pool: str) -> list[K8sObject]:
    """The pods of a pool's endpoint picker; none where nobody knows any."""
    live = find_pool(cluster, pool)
    reference = picker_reference(live) if live else None
    return _served_by(cluster, cluster.find("v1", "Service", reference[0])) if reference else []


def _picker(cluster: Reader, pool: K8sObject) -> Picker | None:
    reference = picker_reference(pool)
    if reference is None:
        return None
    name, fail_close = reference
    service = cluster.find("v1", "Service", name)
    ready = ready_pods(_served_by(cluster, service))
    return Picker(name, service is not None, len(ready), fail_close)


def _served_by(cluster: Reader, service: K8sObject | None) -> list[K8sObject]:
    selector = part(service, "spec", "selector")
    return cluster.select("v1", "Pod", selector) if selector else []
