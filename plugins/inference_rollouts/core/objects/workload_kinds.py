"""The kinds of objects that run servers: where their pod templates are, how they know and count their pods.

A LeaderWorkerSet runs groups of pods: in each a leader, which alone answers requests, and its workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from inference_rollouts.core.objects.api_groups import LEADERS_API, WORKLOAD_API
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import K8sObject, part, parts

LEADERS = "LeaderWorkerSet"
WORKLOADS = ((WORKLOAD_API, "Deployment"), (WORKLOAD_API, "StatefulSet"), (LEADERS_API, LEADERS))
"""API version and kind of each."""
WORKLOAD_KINDS = frozenset(kind for _, kind in WORKLOADS)

GROUPS_NAME = "leaderworkerset.sigs.k8s.io/name"
WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
REVISIONS = (
    "leaderworkerset.sigs.k8s.io/template-revision-hash",
    "pod-template-hash",
    "controller-revision-hash",
)
"""The labels of pods that say of which template they are; the first that a pod has counts."""
NUMBERING = frozenset(
    {
        *REVISIONS,
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        *(f"leaderworkerset.sigs.k8s.io/{each}" for each in ("group-index", "group-key")),
        *(f"leaderworkerset.sigs.k8s.io/{each}" for each in ("subgroup-index", "subgroup-key")),
    }
)
"""The labels by which a controller tells pods of one template apart."""

CONTROLLED = NUMBERING | {WORKER_INDEX}
"""The labels of pods that nobody but a controller sets, whatever the workload is called."""

_LEADER = ("spec", "leaderWorkerTemplate", "leaderTemplate")
_WORKER = ("spec", "leaderWorkerTemplate", "workerTemplate")
_ONLY = ("spec", "template")


def is_workload(obj: K8sObject) -> bool:
    return obj["kind"] in WORKLOAD_KINDS


def is_made_by_another(workload: K8sObject) -> bool:
    """Whether another workload made it, as a LeaderWorkerSet makes StatefulSets."""
    return any(each.get("kind") in WORKLOAD_KINDS for each in parts(workload, "metadata", "ownerReferences"))


def endpoint_template(workload: K8sObject) -> K8sObject:
    """The template of the pods that answer requests; of leaders where there are such."""
    return part(workload, *_paths(workload)[0])


def pod_templates(workload: K8sObject) -> list[K8sObject]:
    """The templates of all pods, that of the endpoints first; one for each sort of pod."""
    return [part(workload, *path) for path in _paths(workload)]


def with_templates(workload: K8sObject, change: Callable[[K8sObject], dict[str, Any]]) -> dict[str, Any]:
    """A workload with each of its pod templates changed."""
    made = dict(workload)
    for path in dict.fromkeys(_paths(workload)):
        made = _replaced(made, path, change(part(workload, *path)))
    return made


def template_labels(workload: K8sObject) -> dict[str, str]:
    """The labels of the pods that answer requests."""
    return labels_of_sorts(workload)[0]


def labels_of_sorts(workload: K8sObject) -> list[dict[str, str]]:
    """The labels of each sort of pod that a workload makes, the endpoints' first."""
    sorts = [words(part(each, "metadata", "labels")) for each in pod_templates(workload)]
    if workload.get("kind") != LEADERS:
        return sorts
    name = str(workload["metadata"]["name"])
    return [{**each, GROUPS_NAME: name, WORKER_INDEX: str(index)} for index, each in enumerate(sorts)]


def match_labels(workload: K8sObject) -> dict[str, str]:
    """The labels that all pods which a workload knows have; its selector may say more."""
    if workload.get("kind") == LEADERS:
        return {GROUPS_NAME: str(workload["metadata"]["name"])}
    return words(part(workload, "spec", "selector", "matchLabels"))


def pod_selector(workload: K8sObject) -> K8sObject:
    """The LabelSelector by which a workload knows its pods; empty where it has none."""
    if workload.get("kind") == LEADERS:
        return {"matchLabels": match_labels(workload)}
    return part(workload, "spec", "selector")


def replicas_of(workload: K8sObject) -> int:
    """How many replicas it is to have; of a LeaderWorkerSet each is a group. 1 where it does not say."""
    found = part(workload, "spec").get("replicas")
    return 1 if found is None else int(found)


def group_size(workload: K8sObject) -> int:
    """How many pods a replica consists of."""
    found = part(workload, "spec", "leaderWorkerTemplate").get("size")
    return 1 if found is None else int(found)


def pods_of_sorts(workload: K8sObject) -> list[tuple[K8sObject, int]]:
    """Each pod template, with how many pods of it there are to be."""
    replicas, workers = replicas_of(workload), group_size(workload) - 1
    counts = (replicas, replicas * workers)
    return [each for each in zip(pod_templates(workload), counts, strict=False) if each[1]]


def is_updating(workload: K8sObject) -> bool:
    """Whether pods of an earlier template still run: an update goes on, is paused, or waits for somebody."""
    status = part(workload, "status")
    return int(status.get("updatedReplicas") or 0) < int(status.get("replicas") or 0)


def pod_count(workload: K8sObject) -> int:
    """How many pods it is to have, workers among them."""
    return replicas_of(workload) * group_size(workload)


def servers_among(manifests: Iterable[K8sObject]) -> list[K8sObject]:
    """The workloads among manifests whose endpoints an InferencePool there selects."""
    manifests = list(manifests)
    selectors = [pod_labels(each).items() for each in manifests if each["kind"] == "InferencePool"]
    return [
        each
        for each in manifests
        if is_workload(each) and any(one and one <= template_labels(each).items() for one in selectors)
    ]


def words(labels: Mapping[str, Any]) -> dict[str, str]:
    """Labels as text, as they may not be in a manifest."""
    return {str(key): str(value) for key, value in labels.items()}


def _paths(workload: K8sObject) -> tuple[tuple[str, ...], ...]:
    """Where the templates of its sorts of pods are; leaders may share that of the workers."""
    if workload.get("kind") != LEADERS:
        return (_ONLY,)
    leader = _LEADER if part(workload, *_LEADER) else _WORKER
    return (leader, _WORKER) if group_size(workload) > 1 else (leader,)


def _replaced(obj: K8sObject, path: tuple[str, ...], value: Any) -> dict[str, Any]:
    key, *rest = path
    return {**obj, key: _replaced(part(obj, key), tuple(rest), value) if rest else value}
