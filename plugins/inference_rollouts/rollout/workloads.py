"""The workloads of a namespace, as far as they may be listed."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from inference_rollouts.clients.kubernetes import Cluster, Reader
from inference_rollouts.core.errors import Forbidden
from inference_rollouts.core.objects.k8s import K8sObject, labels_of
from inference_rollouts.core.objects.selectors import selects
from inference_rollouts.core.objects.workload_kinds import (
    WORKLOADS,
    is_made_by_another,
    match_labels,
    pod_selector,
    template_labels,
)

log = logging.getLogger(__name__)


def workloads_of(
    cluster: Cluster, labels: Mapping[str, str] | None = None
) -> tuple[list[K8sObject], list[str]]:
    """The workloads that no other one made, with these labels; and the kinds that may not be listed.

    Most installations need Deployments alone, so that rights to others may be missing.
    """
    found: list[K8sObject] = []
    unknown = []
    for api, kind in WORKLOADS:
        try:
            found += cluster.select(api, kind, labels) if cluster.serves(api, kind) else ()
        except Forbidden as error:
            if kind == "Deployment":
                raise
            log.info("%s", error)
            unknown.append(kind)
    return [each for each in found if not is_made_by_another(each)], unknown


def pods_of_workload(cluster: Reader, workload: K8sObject) -> list[K8sObject]:
    """The pods that a workload knows by its selector; none of one that selects by nothing."""
    selector = pod_selector(workload)
    if not selector:
        return []
    pods = cluster.select("v1", "Pod", match_labels(workload))
    return [each for each in pods if selects(selector, labels_of(each))]


def chosen_by(labels: Mapping[str, str], workloads: list[K8sObject]) -> list[K8sObject]:
    """Those whose endpoints these labels select."""
    return [each for each in workloads if labels and labels.items() <= template_labels(each).items()]
