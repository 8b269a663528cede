"""Defaults of built-in kinds that depend on more than the field itself, and what the server sets."""

from __future__ import annotations

import base64
from collections.abc import Callable

from lab.apiserver.types.schema import Object

CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def fill(kind: str, document: Object) -> None:
    """Fills, in place, what a server fills into an object of a built-in kind that it reads."""
    if kind in FILLERS:
        FILLERS[kind](document)


def _pod(document: Object) -> None:
    pod_spec(document["spec"])
    for container in _containers(document["spec"]):
        _requests(container)
    document["spec"].setdefault("enableServiceLinks", True)
    addresses = document["status"]
    if addresses.get("podIP") and not addresses.get("podIPs"):
        addresses["podIPs"] = [{"ip": addresses["podIP"]}]


def _template_owner(document: Object) -> None:
    pod_spec(document["spec"]["template"]["spec"])


def pod_spec(spec: Object) -> None:
    for container in _containers(spec):
        _container(container)
    for volume in spec.get("volumes") or []:
        if len(volume) == 1:
            volume["emptyDir"] = {}
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]


def _containers(spec: Object) -> list[Object]:
    return [each for name in CONTAINERS for each in spec.get(name) or []]


def _container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        image = container.get("image", "").partition("@")
        tag = image[0].rpartition("/")[2].partition(":")[2]
        latest = not image[1] and tag in ("", "latest")
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"


def _requests(container: Object) -> None:
    """What is limited is requested: of pods alone, a template's pods get it when they are made."""
    resources = container["resources"]
    for name, value in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, value)


def _deployment(document: Object) -> None:
    _template_owner(document)
    strategy = document["spec"]["strategy"]
    if strategy["type"] == "RollingUpdate":
        update = strategy.setdefault("rollingUpdate", {})
        update.setdefault("maxUnavailable", "25%")
        update.setdefault("maxSurge", "25%")


def _service(document: Object) -> None:
    spec = document["spec"]
    for port in spec.get("ports") or []:
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port")
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")


def _secret(document: Object) -> None:
    for key, value in (document.pop("stringData", None) or {}).items():
        document.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _binding(document: Object) -> None:
    reference = document.get("roleRef") or {}
    if not reference.get("apiGroup"):
        reference["apiGroup"] = "rbac.authorization.k8s.io"
    for subject in document.get("subjects") or []:
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = "rbac.authorization.k8s.io"


def _definition(document: Object) -> None:
    spec = document["spec"]
    names = spec["names"]
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})


FILLERS: dict[str, Callable[[Object], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _template_owner,
    "Service": _service,
    "Secret": _secret,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "CustomResourceDefinition": _definition,
}
