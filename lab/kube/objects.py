"""Objects of the Kubernetes API: which kinds there are, and where each lives."""

from __future__ import annotations

from typing import Any, NamedTuple

Obj = dict[str, Any]


class Resource(NamedTuple):
    """Where objects of a kind live in the API."""

    api_version: str
    plural: str
    namespaced: bool = True


RESOURCES = {
    "Namespace": Resource("v1", "namespaces", False),
    "Node": Resource("v1", "nodes", False),
    "Pod": Resource("v1", "pods"),
    "Service": Resource("v1", "services"),
    "ServiceAccount": Resource("v1", "serviceaccounts"),
    "ConfigMap": Resource("v1", "configmaps"),
    "Secret": Resource("v1", "secrets"),
    "Event": Resource("v1", "events"),
    "Deployment": Resource("apps/v1", "deployments"),
    "ReplicaSet": Resource("apps/v1", "replicasets"),
    "Lease": Resource("coordination.k8s.io/v1", "leases"),
    "CustomResourceDefinition": Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "ComputeClass": Resource("cloud.google.com/v1", "computeclasses", False),
    "GatewayClass": Resource("gateway.networking.k8s.io/v1", "gatewayclasses", False),
    "Gateway": Resource("gateway.networking.k8s.io/v1", "gateways"),
    "HTTPRoute": Resource("gateway.networking.k8s.io/v1", "httproutes"),
    "InferencePool": Resource("inference.networking.k8s.io/v1", "inferencepools"),
    "InferenceObjective": Resource("llm-d.ai/v1alpha2", "inferenceobjectives"),
    "InferenceModelRewrite": Resource("llm-d.ai/v1alpha2", "inferencemodelrewrites"),
    "InferenceModel": Resource("inference.networking.x-k8s.io/v1alpha2", "inferencemodels"),
}


def path_of(kind: str, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
    """The API path of a kind's collection, of one object, or of its subresource."""
    resource = RESOURCES[kind]
    root = "/api/" if "/" not in resource.api_version else "/apis/"
    scope = f"/namespaces/{namespace}" if namespace and resource.namespaced else ""
    tail = "".join(f"/{part}" for part in (name, sub) if part)
    return f"{root}{resource.api_version}{scope}/{resource.plural}{tail}"


def path_of_object(obj: Obj, sub: str | None = None) -> str:
    """The API path of this object; a namespaced object without a namespace is in `default`."""
    metadata = obj["metadata"]
    return path_of(obj["kind"], metadata.get("namespace", "default"), metadata["name"], sub)


def key_of(obj: Obj) -> tuple[str, str]:
    """`(namespace, name)`; the namespace of a cluster-scoped object is empty."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
