"""The stored form of an object and the form a group and version serves it in. Only events differ."""

from __future__ import annotations

from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.schema import Object

RENAMED = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
RENAMED_BACK = {new: old for old, new in RENAMED.items()}


def converts(resource: Resource) -> bool:
    return resource.group == "events.k8s.io"


def to_served(resource: Resource, stored: Object) -> Object:
    """A stored object as a resource serves it, kind and apiVersion first."""
    served = {RENAMED.get(key, key): value for key, value in stored.items()} if converts(resource) else stored
    head = {"kind": resource.kind, "apiVersion": resource.api_version}
    return {**head, **{key: value for key, value in served.items() if key not in head}}


def to_stored(resource: Resource, served: Object) -> Object:
    if not converts(resource):
        return served
    return {RENAMED_BACK.get(key, key): value for key, value in served.items()}
