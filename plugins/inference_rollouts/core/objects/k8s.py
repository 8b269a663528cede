"""Kubernetes objects as values: mappings as the API server sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

K8sObject = Mapping[str, Any]
"""An object, or a part of one, as parsed from JSON."""


def group_of(obj: K8sObject) -> str:
    """The API group of an object; empty for the core group's `v1`."""
    return str(obj["apiVersion"]).partition("/")[0] if "/" in str(obj["apiVersion"]) else ""


def title_of(obj: K8sObject) -> str:
    """Kind and name, as sentences name an object."""
    return f"{obj['kind']} {obj['metadata']['name']}"


def annotations_of(obj: K8sObject) -> Mapping[str, str]:
    """Never None."""
    return obj["metadata"].get("annotations") or {}


def labels_of(obj: K8sObject) -> Mapping[str, str]:
    """Never None."""
    return obj["metadata"].get("labels") or {}
