"""A cluster in memory behind ClusterHook's own methods: what it applies becomes ready at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from inference_rollouts.core.errors import NotFound, PatchRefused
from tests.support.json_patch import TestFailed, apply_patch
from tests.support.routes import ref, route

GATEWAY = "my-inference-gateway"
POOL_API = "inference.networking.k8s.io/v1"
GATEWAY_API = "gateway.networking.k8s.io/v1"
OBJECTIVE_API = "llm-d.ai/v1alpha2"
SERVED = {
    ("v1", "Node"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    (GATEWAY_API, "HTTPRoute"),
    (POOL_API, "InferencePool"),
    (OBJECTIVE_API, "InferenceObjective"),
}
CONDITIONS = ("Accepted", "ResolvedRefs")
FEATURES = ("HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror")


class FakeCluster:
    """The state that Google's guide leaves, and the answers of an API server and its controllers."""

    def __init__(self, *rules: list[dict[str, Any]]) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.served = set(SERVED)
        self.writes: list[tuple[str, str]] = []
        self.events: list[str] = []
        self._uid = 0
        self.put("v1", "Node", self._node())
        self.put_pool("llm-pool")
        objective = {
            "metadata": {"name": "llm-pool-standard"},
            "spec": {"priority": 10, "poolRef": {"name": "llm-pool"}},
        }
        self.put(OBJECTIVE_API, "InferenceObjective", objective)
        live = route(*(rules or ([ref("llm-pool")],)))
        live["spec"]["parentRefs"] = [{"name": GATEWAY}]
        self.put(GATEWAY_API, "HTTPRoute", live)
        gateway = {"metadata": {"name": GATEWAY}, "spec": {"gatewayClassName": "managed"}}
        self.put(GATEWAY_API, "Gateway", gateway)
        features = {"supportedFeatures": [{"name": name} for name in FEATURES]}
        self.put(GATEWAY_API, "GatewayClass", {"metadata": {"name": "managed"}, "status": features})

    @property
    def route(self) -> dict[str, Any]:
        return self.objects["HTTPRoute", "routes-to-llm"]

    def weights(self) -> dict[str, int]:
        return {r["name"]: r.get("weight", 1) for r in self.route["spec"]["rules"][0]["backendRefs"]}

    def copies(self) -> dict[str, int]:
        """The pools that get copies of the route's requests, of how many (in %)."""
        filters = self.route["spec"]["rules"][0].get("filters", ())
        mirrors = [each["requestMirror"] for each in filters if each["type"] == "RequestMirror"]
        return {mirror["backendRef"]["name"]: mirror["percent"] for mirror in mirrors}

    def put_pool(self, name: str, replicas: int = 3) -> None:
        """A pool that serves, with its Deployment and ready pods."""
        labels = {"inference-pool": name}
        spec = {"selector": {"matchLabels": labels}, "targetPorts": [{"number": 8000}]}
        self.put(
            POOL_API,
            "InferencePool",
            {"metadata": {"name": name}, "spec": spec},
        )
        self.put("apps/v1", "Deployment", self._deployment(name, replicas))

    def scale(self, name: str, replicas: int) -> None:
        """A pool with so many pods from now on."""
        for key in [key for key in self.objects if key[0] == "Pod" and key[1].startswith(f"{name}-")]:
            if key[1].removeprefix(f"{name}-").isdecimal():
                del self.objects[key]
        self.put("apps/v1", "Deployment", self._deployment(name, replicas))

    # What ClusterHook offers.

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        found = self.objects.get((kind, name))
        if found is None or found["apiVersion"] != api_version:
            raise NotFound(f"{kind} {name} not found")
        return copy.deepcopy(found)

    def find(self, api_version: str, kind: str, name: str) -> dict[str, Any] | None:
        try:
            return self.get(api_version, kind, name)
        except NotFound:
            return None

    def select(
        self, api_version: str, kind: str, labels: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        wanted = (labels or {}).items()
        return [
            copy.deepcopy(thing)
            for (k, _), thing in self.objects.items()
            if (k, thing["apiVersion"]) == (kind, api_version)
            and wanted <= thing["metadata"].get("labels", {}).items()
        ]

    def select_everywhere(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        return self.select(api_version, kind)

    def serves(self, api_version: str, kind: str) -> bool:
        return (api_version, kind) in self.served

    def apply(self, manifest: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        if not dry_run:
            self.writes.append((manifest["kind"], manifest["metadata"]["name"]))
            self.put(manifest["apiVersion"], manifest["kind"], copy.deepcopy(manifest))
        return manifest

    def patch(self, api_version: str, kind: str, name: str, patch: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            patched = apply_patch(self.objects[kind, name], patch)
        except TestFailed as error:
            raise PatchRefused(str(error)) from error
        self.writes.append((kind, name))
        self.put(api_version, kind, patched)
        return copy.deepcopy(patched)

    def delete(self, thing: dict[str, Any]) -> None:
        key = thing["kind"], thing["metadata"]["name"]
        if key in self.objects and self.objects[key]["metadata"]["uid"] == thing["metadata"]["uid"]:
            self.writes.append(key)
            del self.objects[key]

    def event(self, about: dict[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        self.events.append(reason)

    # What controllers do.

    def put(self, api_version: str, kind: str, thing: dict[str, Any]) -> None:
        self._uid += 1
        meta = thing["metadata"]
        before = self.objects.get((kind, meta["name"]))
        changed = before is None or before.get("spec") != thing.get("spec")
        generation = (before["metadata"]["generation"] if before else 0) + int(changed)
        meta |= {"namespace": "default", "generation": generation, "resourceVersion": str(self._uid)}
        meta.setdefault("uid", f"uid-{self._uid}")
        thing |= {"apiVersion": api_version, "kind": kind}
        if kind in ("HTTPRoute", "InferencePool"):
            thing["status"] = {"parents": [self._parent(generation)]}
        if kind == "Deployment":
            self._run(thing)
        self.objects[kind, meta["name"]] = thing

    def _run(self, deployment: dict[str, Any]) -> None:
        count, template = deployment["spec"]["replicas"], deployment["spec"]["template"]
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": count,
            "updatedReplicas": count,
            "availableReplicas": count,
        }
        containers = template.get("spec", {}).get("containers", [])
        for number in range(count):
            name = f"{deployment['metadata']['name']}-{number}"
            self.put("v1", "Pod", {
                "metadata": {"name": name, "labels": dict(template["metadata"]["labels"])},
                "spec": {"nodeName": "gpu-node-1", "containers": containers},
                "status": {
                    "phase": "Running",
                    "podIP": f"127.0.0.{number + 1}",
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            })  # fmt: skip

    def _parent(self, generation: int) -> dict[str, Any]:
        conditions = [{"type": c, "status": "True", "observedGeneration": generation} for c in CONDITIONS]
        return {"parentRef": {"name": GATEWAY}, "conditions": conditions}

    def _deployment(self, name: str, replicas: int) -> dict[str, Any]:
        labels = {"inference-pool": name}
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}},
        }
        return {"metadata": {"name": name}, "spec": spec}

    def _node(self) -> dict[str, Any]:
        return {
            "metadata": {
                "name": "gpu-node-1",
                "labels": {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"},
            },
            "spec": {},
            "status": {
                "allocatable": {"nvidia.com/gpu": "8"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
