"""What clients ask first: which groups, versions and kinds there are."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from lab.apiserver.kinds.resources import Catalog, Resource
from lab.apiserver.types.schema import Object

AGGREGATED = "apidiscovery.k8s.io"
SUB_KINDS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "binding": ("", "v1", "Binding", ("create",)),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
    "proxy": ("", "v1", "PodProxyOptions", ("create", "delete", "get", "patch", "update")),
    "log": ("", "v1", "Pod", ("get",)),
    "finalize": ("", "v1", "Namespace", ("update",)),
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
}


def legacy_versions(address: str) -> Object:
    server = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": server}


def group_list(catalog: Catalog) -> Object:
    groups = [group(catalog, name) for name in catalog.groups() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(catalog: Catalog, name: str) -> Object:
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in catalog.groups()[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(resources: list[Resource]) -> Object:
    """The resources of one group and version."""
    first = resources[0]
    listed: list[Object] = []
    for resource in resources:
        listed.append(_described(resource))
        listed += [_sub_described(resource, name) for name in subresources(resource)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": first.api_version,
        "resources": listed,
    }


def subresources(resource: Resource) -> list[str]:
    names = list(resource.subresources)
    names += ["status"] if resource.has_status else []
    names += ["scale"] if resource.scale else []
    return sorted(names)


def _described(resource: Resource) -> Object:
    out: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        out["shortNames"] = list(resource.short_names)
    if resource.categories:
        out["categories"] = list(resource.categories)
    if not resource.is_review:
        digest = hashlib.sha256(f"{resource.path}/{resource.kind}".encode()).digest()[:8]
        out["storageVersionHash"] = base64.b64encode(digest).decode()
    return out


def sub_verbs(name: str) -> tuple[str, ...]:
    """What can be done with a subresource."""
    return SUB_KINDS[name][3] if name in SUB_KINDS else ("get", "patch", "update")


def _sub_kind(resource: Resource, name: str) -> tuple[str, str, str, tuple[str, ...]]:
    status = (resource.group, resource.version, resource.kind, sub_verbs(name))
    return SUB_KINDS.get(name, status)


def _sub_described(resource: Resource, name: str) -> Object:
    kind_group, version, kind, verbs = _sub_kind(resource, name)
    out: Object = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind,
        "verbs": list(verbs),
    }
    if (kind_group, version) != (resource.group, resource.version):
        out |= {"group": kind_group, "version": version}
    return out


def aggregated(catalog: Catalog, core: bool) -> Object:
    """Everything at once, as newer clients like it: the core group, or all others."""
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [_aggregated_version(catalog, name, version) for version in versions],
        }
        for name, versions in catalog.groups().items()
        if (name == "") is core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{AGGREGATED}/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_version(catalog: Catalog, name: str, version: str) -> Object:
    resources = [_aggregated_resource(item) for item in catalog.of_group(name, version)]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(resource: Resource) -> Object:
    out: Object = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        out["shortNames"] = list(resource.short_names)
    if resource.categories:
        out["categories"] = list(resource.categories)
    subs: list[Any] = []
    for name in subresources(resource):
        kind_group, version, kind, verbs = _sub_kind(resource, name)
        response = {"group": kind_group, "version": version, "kind": kind}
        subs.append({"subresource": name, "responseKind": response, "verbs": list(verbs)})
    if subs:
        out["subresources"] = subs
    return out
