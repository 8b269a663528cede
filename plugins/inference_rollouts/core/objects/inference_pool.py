"""InferencePools, in the two shapes that clusters serve: v1, and the older v1alpha2."""

from __future__ import annotations

from inference_rollouts.core.objects.k8s import K8sObject


def pod_labels(pool: K8sObject) -> dict[str, str]:
    """The labels by which a pool selects its pods; empty when it selects by nothing."""
    selector = pool["spec"].get("selector") or {}
    old = "targetPortNumber" in pool["spec"]
    return dict(selector if old else selector.get("matchLabels") or {})


def ports(pool: K8sObject) -> list[int]:
    """The ports on which each pod of a pool has a model server."""
    spec = pool["spec"]
    if "targetPortNumber" in spec:
        return [int(spec["targetPortNumber"])]
    return [int(port["number"]) for port in spec.get("targetPorts") or ()]
