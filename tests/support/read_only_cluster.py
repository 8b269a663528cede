"""A cluster as a handful of objects, for tests of what is read from it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

from inference_rollouts.clients.discovery import Extensions
from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.errors import NotFound
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.routing.weights import Target
from tests.support.claims import TOKEN
from tests.support.fake_cluster import GATEWAY_API, POOL_API, FakeCluster
from tests.support.plans import RUN
from tests.support.routes import ref, route

READ_ONLY = "this cluster is only read"


class Objects:
    """A cluster that is only read; namespaces count for Gateways only."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = list(objects)

    def time(self) -> float:
        return 0.0

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        for obj in self.objects:
            meta = obj["metadata"]
            here = namespace is None or meta.get("namespace", namespace) == namespace
            if (obj["apiVersion"], obj["kind"], meta["name"]) == (api_version, kind, name) and here:
                return copy.deepcopy(obj)
        raise NotFound(f"{kind} {name} not found")

    def find(self, api_version: str, kind: str, name: str) -> dict[str, Any] | None:
        try:
            return self.get(api_version, kind, name)
        except NotFound:
            return None

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        wanted = (labels or {}).items()
        return [
            copy.deepcopy(obj)
            for obj in self.objects
            if (obj["apiVersion"], obj["kind"]) == (api_version, kind)
            and wanted <= obj["metadata"].get("labels", {}).items()
        ]

    def select_everywhere(self, api_version: str, kind: str) -> list[K8sObject]:
        return self.select(api_version, kind)

    def extensions(self) -> Extensions:
        return Extensions(())

    def serves(self, api_version: str, kind: str) -> bool:
        return any((each["apiVersion"], each["kind"]) == (api_version, kind) for each in self.objects)

    def events_about(self, obj: K8sObject) -> list[K8sObject]:
        return []

    def apply(self, manifest: K8sObject, *, dry_run: bool = False, force: bool = False) -> NoReturn:
        raise AssertionError(READ_ONLY)

    def patch(self, api_version: str, kind: str, name: str, patch: Sequence[K8sObject]) -> NoReturn:
        raise AssertionError(READ_ONLY)

    def delete(self, obj: K8sObject) -> NoReturn:
        raise AssertionError(READ_ONLY)

    def event(self, about: K8sObject, reason: str, message: str, *, warning: bool = False) -> NoReturn:
        raise AssertionError(READ_ONLY)

    def remove(self, kind: str, prefix: str = "") -> None:
        self.objects = [
            each
            for each in self.objects
            if not (each["kind"] == kind and each["metadata"]["name"].startswith(prefix))
        ]


def read_only(cluster: FakeCluster) -> FakeCluster:
    """The same cluster, on which every write but a server's own dry run fails the test."""
    apply = cluster.apply

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError(READ_ONLY)

    def dry(manifest: K8sObject, *, dry_run: bool = False) -> K8sObject:
        return apply(manifest, dry_run=True) if dry_run else refuse()

    for verb, act in {"apply": dry, "patch": refuse, "delete": refuse, "event": refuse}.items():
        setattr(cluster, verb, act)
    return cluster


def says(to: dict[str, Any], generation: int = 1, **states: str) -> dict[str, Any]:
    """What the controller of a gateway says for a parentRef."""
    conditions = [
        {"type": kind, "status": status, "observedGeneration": generation, "reason": "R", "message": "words"}
        for kind, status in {"Accepted": "True", "ResolvedRefs": "True", **states}.items()
    ]
    return {"parentRef": to, "controllerName": "c", "conditions": conditions}


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def pool(name: str, *entries: dict[str, Any], pods: int = 3, mode: str = "FailClose") -> list[dict[str, Any]]:
    """An InferencePool with ready pods and a picker that is ready."""
    live = {
        "apiVersion": POOL_API,
        "kind": "InferencePool",
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "spec": {
            "selector": {"matchLabels": {"inference-pool": name}},
            "targetPorts": [{"number": 8000}],
            "endpointPickerRef": {"name": f"{name}-epp", "failureMode": mode},
        },
        "status": {"parents": list(entries)},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{name}-epp"},
        "spec": {"selector": {"app": f"{name}-epp"}},
    }
    servers = [pod(f"{name}-{number}", **{"inference-pool": name}) for number in range(pods)]
    return [live, service, pod(f"{name}-epp-0", app=f"{name}-epp"), *servers]


def routed(
    refs: list[dict[str, Any]], *entries: dict[str, Any], name: str = "routes-to-llm", **annotations: str
) -> dict[str, Any]:
    live = route([ref("llm-pool")], annotations=annotations or None)
    live["metadata"]["name"] = name
    live["spec"]["parentRefs"] = refs
    return {**live, "status": {"parents": list(entries)}}


def target(name: str = "routes-to-llm") -> Target:
    return Target(GATEWAY_API, "HTTPRoute", name)


def frozen(plan: Any, parents: tuple[Parent, ...], **more: Any) -> Any:
    """As much of a frozen run as what only reads the cluster asks for."""
    return SimpleNamespace(
        run=RUN,
        token=TOKEN,
        plan=plan,
        metric_set=load_metric_set("vllm"),
        parents=parents,
        parents_for=lambda route: tuple(each for each in parents if each.route in ("", route)),
        **{"targets": (target(),), "manifests": (), "previews": (), "began": 0.0, "adopted": False, **more},
    )
