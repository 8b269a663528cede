"""Pods of two pools: no request may reach the canary by another pool, or stable by the canary's."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from inference_rollouts.core.objects.api_groups import POOL_APIS
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import K8sObject, labels_of, title_of
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.objects.takeover import Overlap, overlaps
from inference_rollouts.core.objects.workload_kinds import replicas_of, servers_among
from inference_rollouts.rollout.pods import pods_of
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.sizes import scale

log = logging.getLogger(__name__)


def refused_shared_pods(run: Run) -> Readiness | None:
    """Failed where another InferencePool chooses pods that the canary's chooses as well; else None.

    Preflight saw the labels in templates. Pods may have more: a webhook's, a controller's, somebody's. They
    get requests as soon as they are ready, whatever the weights are: what the rollout made has no pods then.
    An adopted canary serves already, as it is.
    """
    canary, cluster = run.frozen.plan.canary, run.cluster
    if run.frozen.adopted:
        return None
    pools = [
        Overlap(title_of(each), {"matchLabels": pod_labels(each)})
        for api in POOL_APIS
        if cluster.serves(api, "InferencePool")
        for each in cluster.select(api, "InferencePool")
        if each["metadata"]["name"] != canary
    ]
    sentence = next(overlaps(pools, [labels_of(pod) for pod in pods_of(cluster, canary)], canary), None)
    if sentence is None:
        return None
    left = ", ".join(_scale_down(run, servers_among(run.frozen.manifests)))
    todo = f"scale {left} to 0, which could not be done" if left else "what the rollout made has no pods now"
    return Readiness(Phase.FAILED, f"{sentence} For now {todo}")


def _scale_down(run: Run, servers: Sequence[K8sObject]) -> Iterator[str]:
    """The titles of those that could not be scaled."""
    for manifest in servers:
        name = manifest["metadata"]["name"]
        live = run.cluster.find(manifest["apiVersion"], manifest["kind"], name)
        try:
            if live is not None and replicas_of(live):
                scale(run.cluster, live, 0, "its pods would get another pool's requests")
        except Exception as error:
            log.warning("could not scale %s to no pods: %s", title_of(manifest), error)
            yield title_of(manifest)
