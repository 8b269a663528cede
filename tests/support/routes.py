"""HTTPRoutes and rewrites for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

POOLS = "inference.networking.k8s.io"


def ref(name: str, weight: int | None = None, kind: str = "InferencePool", group: str = POOLS) -> Object:
    backend: Object = {"group": group, "kind": kind, "name": name}
    return backend if weight is None else {**backend, "weight": weight}


def service(name: str, weight: int | None = None) -> Object:
    return ref(name, weight, kind="Service", group="")


def route(*rules: Sequence[Object], annotations: Mapping[str, str] | None = None) -> Object:
    """The route of Google's guide with these rules, each given by its backends."""
    meta: Object = {
        "name": "routes-to-llm",
        "namespace": "default",
        "uid": "u-1",
        "resourceVersion": "10",
        "generation": 1,
    }
    if annotations:
        meta["annotations"] = dict(annotations)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": meta,
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "rules": [
                {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": list(backends)}
                for backends in rules
            ],
        },
    }


def rewrite(alias: str, target: str, pool: str = "llm-pool") -> Object:
    """An InferenceModelRewrite that sends an alias to one target."""
    match = {"model": {"type": "Exact", "value": alias}}
    return {
        "apiVersion": "llm-d.ai/v1alpha2",
        "kind": "InferenceModelRewrite",
        "metadata": {"name": alias, "namespace": "default", "uid": "u-2", "resourceVersion": "20"},
        "spec": {
            "poolRef": {"name": pool},
            "rules": [{"matches": [match], "targets": [{"modelRewrite": target}]}],
        },
    }
