"""Objects for the gateway's tests, as an API server with defaulting would return them."""

from __future__ import annotations

from typing import Any

from lab.gateway.model import GATEWAY_GROUP, POOL_GROUP, World
from lab.kube.objects import key_of

Obj = dict[str, Any]


def metadata(name: str, namespace: str = "default", generation: int = 1, **more: Any) -> Obj:
    return {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{namespace}-{name}",
        "generation": generation,
        "resourceVersion": "1",
        "creationTimestamp": "2030-01-01T00:00:00Z",
        **more,
    }


def gateway(name: str = "gw", listeners: list[Obj] | None = None, **meta: Any) -> Obj:
    default = [{"name": "http", "port": 8080, "protocol": "HTTP"}]
    spec = {"gatewayClassName": "lab", "listeners": listeners or default}
    return {"kind": "Gateway", "metadata": metadata(name, **meta), "spec": spec}


def pool(name: str, picker: Obj | None = None, **meta: Any) -> Obj:
    reference = {"group": "", "kind": "Service", "name": "epp", "port": {"number": 9002}}
    spec = {
        "selector": {"matchLabels": {"inference-pool": name}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": reference if picker is None else picker,
    }
    return {"kind": "InferencePool", "metadata": metadata(name, **meta), "spec": spec}


def service(name: str = "epp", port: int = 9002, **spec: Any) -> Obj:
    ports = {"ports": [{"port": port}]}
    return {"kind": "Service", "metadata": metadata(name), "spec": {**ports, **spec}}


def backend(name: str, weight: int | None = None, **more: Any) -> Obj:
    share = {} if weight is None else {"weight": weight}
    return {"group": POOL_GROUP, "kind": "InferencePool", "name": name, **share, **more}


def rule(*backends: Obj, **more: Any) -> Obj:
    return {"backendRefs": list(backends), **more}


def route(name: str, *rules: Obj, parents: list[Obj] | None = None, hosts: Any = None, **meta: Any) -> Obj:
    parent = {"group": GATEWAY_GROUP, "kind": "Gateway", "name": "gw"}
    spec = {"parentRefs": [parent] if parents is None else parents, "rules": list(rules)}
    if hosts:
        spec["hostnames"] = hosts
    return {"kind": "HTTPRoute", "metadata": metadata(name, **meta), "spec": spec}


def pod(name: str, of: str, address: str, ready: bool = True, **meta: Any) -> Obj:
    status = {"podIP": address, "conditions": [{"type": "Ready", "status": str(ready)}]}
    labels = {"inference-pool": of}
    return {"kind": "Pod", "metadata": metadata(name, labels=labels, **meta), "spec": {}, "status": status}


def world(*objects: Obj) -> World:
    def of(kind: str) -> dict[tuple[str, str], Obj]:
        return {key_of(each): each for each in objects if each["kind"] == kind}

    return World(of("Gateway"), of("HTTPRoute"), of("InferencePool"), of("Service"))


def rewrite(name: str, *rules: Obj, of: str = "a", **meta: Any) -> Obj:
    return {"metadata": metadata(name, **meta), "spec": {"poolRef": {"name": of}, "rules": list(rules)}}


def targets(**weights: int | None) -> list[Obj]:
    return [
        {"modelRewrite": name} if weight is None else {"modelRewrite": name, "weight": weight}
        for name, weight in weights.items()
    ]


def exactly(model: str) -> list[Obj]:
    return [{"model": {"type": "Exact", "value": model}}]
