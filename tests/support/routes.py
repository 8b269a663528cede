"""HTTPRoutes and rewrites for tests."""

from __future__ import annotations

POOLS = "inference.networking.k8s.io"


def ref(name, weight=None, kind="InferencePool", group=POOLS):
    out = {"group": group, "kind": kind, "name": name}
    return out if weight is None else {**out, "weight": weight}


def service(name, weight=None):
    return ref(name, weight, kind="Service", group="")


def route(*rules, annotations=None):
    meta = {
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
                {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": list(r)}
                for r in rules
            ],
        },
    }


def rewrite(alias, target, pool="llm-pool"):
    return {
        "apiVersion": "llm-d.ai/v1alpha2",
        "kind": "InferenceModelRewrite",
        "metadata": {"name": alias, "namespace": "default", "uid": "u-2", "resourceVersion": "20"},
        "spec": {
            "poolRef": {"name": pool},
            "rules": [
                {
                    "matches": [{"model": {"type": "Exact", "value": alias}}],
                    "targets": [{"modelRewrite": target}],
                }
            ],
        },
    }
