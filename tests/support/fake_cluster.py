"""A cluster in memory: what is applied becomes ready at once."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inference_rollouts.clients.discovery import Extensions, is_own
from inference_rollouts.clients.kubernetes import FIELD_MANAGER
from inference_rollouts.core.errors import ClusterUnavailable, NotFound, PatchRefused
from inference_rollouts.core.objects.inference_pool import pod_labels, ports
from inference_rollouts.core.objects.k8s import K8sObject, annotations_of, labels_of
from inference_rollouts.core.objects.workload_kinds import (
    LEADERS,
    WORKLOAD_KINDS,
    group_size,
    labels_of_sorts,
    pod_templates,
    replicas_of,
)
from inference_rollouts.core.routing.claim import ENDING, Ending, read_ending
from inference_rollouts.rollout.pods import base_url
from tests.support.field_owners import Object, Path, drop, leaves, managed, merge
from tests.support.json_patch import PathMissing, TestFailed, apply_patch
from tests.support.routes import ref, route

GATEWAY = "my-inference-gateway"
POOL_API = "inference.networking.k8s.io/v1"
GATEWAY_API = "gateway.networking.k8s.io/v1"
OBJECTIVE_API = "llm-d.ai/v1alpha2"
SERVED = {
    ("v1", "ConfigMap"),
    ("v1", "Event"),
    ("v1", "Node"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("coordination.k8s.io/v1", "Lease"),
    (GATEWAY_API, "Gateway"),
    (GATEWAY_API, "GatewayClass"),
    (GATEWAY_API, "HTTPRoute"),
    (POOL_API, "InferencePool"),
    (OBJECTIVE_API, "InferenceObjective"),
}
CLUSTER_SCOPED = {"Node", "GatewayClass", "ComputeClass"}
CONDITIONS = ("Accepted", "ResolvedRefs")
FEATURES = ("HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror")
IDENTITY = {
    ("apiVersion",),
    ("kind",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "resourceVersion"),
}


class FakeCluster:
    """The state that Google's guide leaves, and the answers of an API server and its controllers.

    Fields belong to who wrote them by `apply`, `patch` or `write_as`; what a test `put`s belongs to nobody.
    """

    def __init__(self, *rules: Sequence[K8sObject], namespace: str = "default") -> None:
        self.namespace = namespace
        self.objects: dict[tuple[str, str], Object] = {}
        self.served = set(SERVED)
        self.writes: list[tuple[str, str]] = []
        self.told: list[Object] = []
        self.clock = time.time  # the API server's
        self.addresses = "127.0.{place}.{pod}"  # of pods
        self._owners: dict[tuple[str, str], dict[Path, str]] = {}
        self._version = 0
        self.put("v1", "Node", _node())
        self.put_pool("llm-pool")
        objective: Object = {
            "metadata": {"name": "llm-pool-standard"},
            "spec": {"priority": 10, "poolRef": {"name": "llm-pool"}},
        }
        self.put(OBJECTIVE_API, "InferenceObjective", objective)
        live = route(*([dict(each) for each in rule] for rule in rules or ([ref("llm-pool")],)))
        live["spec"]["parentRefs"] = [{"name": GATEWAY}]
        self.put(GATEWAY_API, "HTTPRoute", live)
        gateway: Object = {"metadata": {"name": GATEWAY}, "spec": {"gatewayClassName": "managed"}}
        self.put(GATEWAY_API, "Gateway", gateway)
        features = {"supportedFeatures": [{"name": name} for name in FEATURES]}
        self.put(GATEWAY_API, "GatewayClass", {"metadata": {"name": "managed"}, "status": features})

    @property
    def route(self) -> Object:
        return self.objects["HTTPRoute", "routes-to-llm"]

    @property
    def events(self) -> list[str]:
        """The reasons of what was told, in order."""
        return [event["reason"] for event in self.told]

    def weights(self) -> dict[str, int]:
        return {r["name"]: r.get("weight", 1) for r in self.route["spec"]["rules"][0]["backendRefs"]}

    def copies(self) -> dict[str, int]:
        """The pools that get copies of the route's requests, of how many (in %)."""
        filters = self.route["spec"]["rules"][0].get("filters", ())
        mirrors = [each["requestMirror"] for each in filters if each["type"] == "RequestMirror"]
        return {mirror["backendRef"]["name"]: mirror["percent"] for mirror in mirrors}

    def notes(self, kind: str = "HTTPRoute", name: str = "routes-to-llm") -> dict[str, str]:
        """The annotations of an object, but for how the last rollout let it go."""
        annotations = annotations_of(self.objects[kind, name])
        return {key: value for key, value in annotations.items() if key != ENDING}

    def ending(self, kind: str = "HTTPRoute", name: str = "routes-to-llm") -> Ending | None:
        """How the last rollout let an object go."""
        last = read_ending(self.objects[kind, name])
        return last.ending if last else None

    def names(self, kind: str) -> list[str]:
        return [name for each, name in list(self.objects) if each == kind]

    def put_pool(self, name: str, replicas: int = 3) -> None:
        """A pool that serves, with its Deployment and ready pods."""
        spec = {"selector": {"matchLabels": {"inference-pool": name}}, "targetPorts": [{"number": 8000}]}
        self.put(POOL_API, "InferencePool", {"metadata": {"name": name}, "spec": spec})
        self.put("apps/v1", "Deployment", deployment(name, replicas))

    def pods_of(self, deployment: str) -> list[str]:
        """The names of a Deployment's pods, by their numbers."""
        pods = [pod.rpartition("-") for pod in self.names("Pod")]
        return [f"{deployment}-{n}" for n in sorted(int(n) for owner, _, n in pods if owner == deployment)]

    def endpoints_of(self, pool: str) -> list[str]:
        """The names of the pods that an InferencePool selects."""
        live = self.objects.get(("InferencePool", pool))
        if live is None:
            return self.pods_of(pool)
        labels = pod_labels(live).items()
        return [pod for pod in self.names("Pod") if labels <= labels_of(self.objects["Pod", pod]).items()]

    def url(self, pod: str, pool: str) -> str:
        """Where its model server listens."""
        return base_url(self.objects["Pod", pod], ports(self.objects["InferencePool", pool])[0])

    def address(self, pod: str) -> str:
        """Of its own, whatever Deployment it is of."""
        address: str = self.objects["Pod", pod]["status"]["podIP"]
        return address

    def put_route(self, name: str, *rules: Sequence[K8sObject]) -> Object:
        """One more HTTPRoute on the gateway."""
        live = route(*([dict(each) for each in rule] for rule in rules))
        live["metadata"] |= {"name": name, "uid": f"uid-of-{name}"}
        live["spec"]["parentRefs"] = [{"name": GATEWAY}]
        self.put(GATEWAY_API, "HTTPRoute", live)
        return live

    def scale(self, name: str, replicas: int) -> None:
        """A pool with so many pods from now on."""
        self.put("apps/v1", "Deployment", deployment(name, replicas))

    # What the protocol Cluster wants.

    def time(self) -> float:
        return self.clock()

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        obj = self.objects.get((kind, name))
        if obj is None or obj["apiVersion"] != api_version:
            raise NotFound(f"{kind} {name} not found")
        if kind not in CLUSTER_SCOPED and obj["metadata"]["namespace"] != (namespace or self.namespace):
            raise NotFound(f"{kind} {name} not found in namespace {namespace or self.namespace}")
        copied: Object = _copied(obj)
        return copied

    def find(self, api_version: str, kind: str, name: str) -> Object | None:
        try:
            return self.get(api_version, kind, name)
        except NotFound:
            return None

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        wanted = (labels or {}).items()
        return [
            _copied(obj)
            for obj in self._stored(api_version, kind)
            if kind in CLUSTER_SCOPED or obj["metadata"]["namespace"] == self.namespace
            if wanted <= labels_of(obj).items()
        ]

    def select_everywhere(self, api_version: str, kind: str) -> list[K8sObject]:
        return list(map(_copied, self._stored(api_version, kind)))

    def _stored(self, api_version: str, kind: str) -> list[Object]:
        if not self.serves(api_version, kind):
            raise NotFound(f"The cluster does not serve {kind} of {api_version}.")
        stored: Iterable[Object] = self.told if kind == "Event" else self.objects.values()
        return [obj for obj in list(stored) if (obj["apiVersion"], obj["kind"]) == (api_version, kind)]

    def serves(self, api_version: str, kind: str) -> bool:
        return (api_version, kind) in self.served

    def extensions(self) -> Extensions:
        served = [(api, kind) for api, kind in sorted(self.served) if kind not in CLUSTER_SCOPED]
        return Extensions(tuple(each for each in served if not is_own(each[0].rpartition("/")[0])))

    def apply(self, manifest: K8sObject, *, dry_run: bool = False, force: bool = False) -> Object:
        api_version, kind, name = manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]
        if not self.serves(api_version, kind):
            raise NotFound(f"The cluster does not serve {kind} of {api_version}.")
        before = self.find(api_version, kind, name)
        version = before["metadata"]["resourceVersion"] if before else ""
        if manifest["metadata"].get("resourceVersion", version) != version:
            raise ClusterUnavailable("PATCH", f"/{kind}/{name}", 409, "the object has been modified")
        wanted = {path: value for path, value in leaves(manifest) if path not in IDENTITY}
        merged, owners = self._merged(before, manifest, wanted, force=force)
        if merged == before or dry_run:
            return merged
        return self._write(merged, owners)

    def patch(self, api_version: str, kind: str, name: str, patch: Sequence[K8sObject]) -> Object:
        before = self.get(api_version, kind, name)
        try:
            patched = apply_patch(before, patch)
        except (TestFailed, PathMissing) as error:
            raise PatchRefused(str(error)) from error
        old, new = dict(leaves(before)), dict(leaves(patched))
        ours = {path: FIELD_MANAGER for path, value in new.items() if old.get(path, ...) != value}
        kept = {path: who for path, who in self._owners.get((kind, name), {}).items() if path in new}
        return self._write(patched, kept | ours)

    def delete(self, obj: K8sObject) -> None:
        key = obj["kind"], obj["metadata"]["name"]
        if key in self.objects and self.objects[key]["metadata"]["uid"] == obj["metadata"]["uid"]:
            self.writes.append(key)
            del self.objects[key]
            self._owners.pop(key, None)

    def events_about(self, obj: K8sObject) -> list[K8sObject]:
        return [event for event in self.told if event["involvedObject"]["uid"] == obj["metadata"]["uid"]]

    def event(self, about: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        meta = about["metadata"]
        number = str(len(self.told) + 1)
        self.told.append({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"event-{number}", "namespace": self.namespace, "resourceVersion": number},
            "involvedObject": {"kind": about["kind"], "name": meta["name"], "uid": meta["uid"]},
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
        })  # fmt: skip

    # What others do.

    def write_as(self, manager: str, obj: Object) -> Object:
        """Somebody else creates an object, or applies fields of it by force."""
        key = obj["kind"], obj["metadata"]["name"]
        owners = {path: manager for path, _ in leaves(obj) if path not in IDENTITY}
        live = self.objects.get(key)
        merged = copy.deepcopy(obj) if live is None else merge(copy.deepcopy(live), obj)
        return self._write(merged, self._owners.get(key, {}) | owners)

    def put(self, api_version: str, kind: str, obj: Object) -> None:
        """Store an object as it is, and do what its controllers would."""
        self._version += 1
        meta = obj["metadata"]
        before = self.objects.get((kind, meta["name"]))
        changed = before is None or before.get("spec") != obj.get("spec")
        generation = (before["metadata"]["generation"] if before else 0) + int(changed)
        meta |= {"generation": generation, "resourceVersion": str(self._version)}
        if kind not in CLUSTER_SCOPED:
            meta.setdefault("namespace", self.namespace)
        meta.setdefault("uid", f"uid-{self._version}")
        obj |= {"apiVersion": api_version, "kind": kind}
        if kind in ("HTTPRoute", "InferencePool"):
            obj["status"] = {"parents": [_parent(generation)]}
        if kind in WORKLOAD_KINDS:
            self._run(obj)
        self.objects[kind, meta["name"]] = obj

    def _merged(
        self, before: Object | None, manifest: K8sObject, wanted: Mapping[Path, Any], *, force: bool
    ) -> tuple[Object, dict[Path, str]]:
        """The object as applied, and who owns its fields then. Raises PatchRefused on others' fields, but by
        force."""
        key = manifest["kind"], manifest["metadata"]["name"]
        owners = self._owners.get(key, {})
        live = dict(leaves(before)) if before else {}
        for path, value in wanted.items():
            owner = owners.get(path, FIELD_MANAGER)
            if owner != FIELD_MANAGER and live.get(path) != value and not force:
                raise PatchRefused(f'conflict with "{owner}": .{".".join(path)}')
        merged: Object = merge(copy.deepcopy(before or {}), manifest)
        dropped = [path for path, who in owners.items() if who == FIELD_MANAGER and path not in wanted]
        for path in dropped:
            drop(merged, path)
        kept = {path: who for path, who in owners.items() if path not in dropped}
        return merged, kept | dict.fromkeys(wanted, FIELD_MANAGER)

    def _write(self, obj: Object, owners: dict[Path, str]) -> Object:
        key = obj["kind"], obj["metadata"]["name"]
        obj["metadata"]["managedFields"] = managed(owners)
        self.writes.append(key)
        self._owners[key] = owners
        self.put(obj["apiVersion"], obj["kind"], obj)
        return copy.deepcopy(self.objects[key])

    def _run(self, live: Object) -> None:
        count, size, owner = replicas_of(live), group_size(live), live["metadata"]["name"]
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": count,
            "updatedReplicas": count,
            "readyReplicas" if live["kind"] == LEADERS else "availableReplicas": count,
        }
        running = [key for key in list(self.objects) if key[0] in WORKLOAD_KINDS]
        key = live["kind"], owner
        place = running.index(key) if key in running else len(running)
        for number, pod in enumerate(self.pods_of(owner)):
            workers = self.pods_of(pod) if live["kind"] == LEADERS else []
            for gone in [pod, *workers] if number >= count else ():
                del self.objects["Pod", gone]
        sorts = list(zip(pod_templates(live), labels_of_sorts(live), strict=True))
        for number in range(count):
            for worker in range(size):
                template, labels = sorts[min(worker, len(sorts) - 1)]
                self.put("v1", "Pod", {
                    "metadata": {
                        "name": f"{owner}-{number}" + (f"-{worker}" if worker else ""),
                        "labels": dict(labels),
                    },
                    "spec": {"nodeName": "gpu-node-1", **template.get("spec", {})},
                    "status": {
                        "phase": "Running",
                        "podIP": self.addresses.format(place=place, pod=number * size + worker + 1),
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                })  # fmt: skip


def _copied(value: Any) -> Any:
    """A copy of JSON, some times faster than `copy.deepcopy`, which tests would spend their time with."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def deployment(name: str, replicas: int) -> Object:
    labels = {"inference-pool": name}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}},
    }
    return {"metadata": {"name": name}, "spec": spec}


def _parent(generation: int) -> Object:
    conditions = [{"type": c, "status": "True", "observedGeneration": generation} for c in CONDITIONS]
    return {"parentRef": {"name": GATEWAY}, "conditions": conditions}


def _node() -> Object:
    labels = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    return {
        "metadata": {"name": "gpu-node-1", "labels": labels},
        "spec": {},
        "status": {
            "allocatable": {"nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
