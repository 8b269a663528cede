"""Deployment -> ReplicaSets: a rolling update as kube-controller-manager performs it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lab.controllers.ownership import claim, controller_of, owner_reference
from lab.controllers.rollout import (
    deadline,
    deployment_status,
    next_sizes,
    surge_and_unavailable,
    total,
    wanted,
)
from lab.kube.clock import age, created, now
from lab.kube.conditions import find
from lab.kube.objects import Obj, key_of
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

MANAGER = "kube-controller-manager"
COMPONENT = "deployment-controller"
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Deployments:
    """Reconciles Deployments."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loop: Loop[tuple[str, str]] = Loop("deployment", self._reconcile)
        store.on_change("Deployment", lambda obj: self.loop.add(key_of(obj)))
        store.on_change("ReplicaSet", self._changed)

    def _changed(self, replica_set: Obj) -> None:
        namespace = replica_set["metadata"]["namespace"]
        if owner := controller_of(replica_set):
            self.loop.add((namespace, owner["name"]))
        else:
            for deployment in self._store["Deployment"].list(namespace):
                self.loop.add(key_of(deployment))

    async def _reconcile(self, key: tuple[str, str]) -> float | None:
        deployment = self._store["Deployment"].get(*key)
        if deployment is None or "deletionTimestamp" in deployment["metadata"]:
            return None
        sets = await claim(self._store, deployment, "ReplicaSet", MANAGER)
        new = _newest_template(deployment, sets)
        old = [each for each in sets if each is not new]
        if not deployment["spec"].get("paused"):
            new = await self._ensure_new(deployment, new, old)
            deployment = await self._set_revision(deployment, new)
        sizes = next_sizes(deployment, new, old, self._pods_of(old))
        for each in [*([new] if new else []), *old]:
            if (name := each["metadata"]["name"]) in sizes:
                await self._scale(deployment, each, sizes[name])
        status = deployment_status(deployment, new, old, now())
        deployment = await self._store.write_status(deployment, status, MANAGER)
        if not sizes and new and wanted(deployment) == total([new], "availableReplicas"):
            await self._clean_up(deployment, old)
        return _until_deadline(deployment)

    async def _ensure_new(self, deployment: Obj, new: Obj | None, old: list[Obj]) -> Obj:
        revision = str(max(map(_revision, old), default=0) + 1)
        if new is None:
            return await self._store.create(_replica_set(deployment, revision), MANAGER)
        if _revision(new) >= int(revision):
            return new
        annotations = {REVISION: revision}
        return await self._store.patch(new, {"metadata": {"annotations": annotations}}, MANAGER)

    async def _set_revision(self, deployment: Obj, new: Obj) -> Obj:
        revision = str(_revision(new))
        if (deployment["metadata"].get("annotations") or {}).get(REVISION) == revision:
            return deployment
        annotations = {REVISION: revision}
        return await self._store.patch(deployment, {"metadata": {"annotations": annotations}}, MANAGER)

    async def _scale(self, deployment: Obj, replica_set: Obj, size: int) -> None:
        before = wanted(replica_set)
        metadata = replica_set["metadata"]
        annotations = {**(metadata.get("annotations") or {}), **_limits(deployment)}
        scaled = {
            **replica_set,
            "metadata": {**metadata, "annotations": annotations},
            "spec": {**replica_set["spec"], "replicas": size},
        }
        await self._store.replace(scaled, MANAGER)
        direction = "up" if size > before else "down"
        message = f"Scaled {direction} replica set {metadata['name']} from {before} to {size}"
        await self._store.event(deployment, "Normal", "ScalingReplicaSet", message, COMPONENT)

    def _pods_of(self, sets: list[Obj]) -> int:
        uids = {each["metadata"]["uid"] for each in sets}
        owners = map(controller_of, self._store["Pod"].items.values())
        return sum(1 for owner in owners if owner and owner["uid"] in uids)

    async def _clean_up(self, deployment: Obj, old: list[Obj]) -> None:
        keep = deployment["spec"].get("revisionHistoryLimit", 10)
        empty = [each for each in old if not wanted(each) and not total([each], "replicas")]
        for each in sorted(empty, key=_revision)[: max(0, len(empty) - keep)]:
            await self._store.delete(each)


def _newest_template(deployment: Obj, sets: list[Obj]) -> Obj | None:
    """The oldest ReplicaSet whose template is the Deployment's, but for the hash label."""
    template = _bare(deployment["spec"]["template"])
    same = [each for each in sets if _bare(each["spec"]["template"]) == template]
    return min(same, key=created, default=None)


def _bare(template: Obj) -> Obj:
    metadata = dict(template.get("metadata") or {})
    labels = {name: value for name, value in (metadata.pop("labels", None) or {}).items() if name != HASH}
    meaningful = {name: value for name, value in metadata.items() if value}
    return {"metadata": {**meaningful, "labels": labels}, "spec": template["spec"]}


def template_hash(template: Obj) -> str:
    """A short name for a pod template, in letters that spell no words."""
    digest = hashlib.sha256(json.dumps(_bare(template), sort_keys=True).encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:10])


def _replica_set(deployment: Obj, revision: str) -> Obj:
    """A new ReplicaSet without replicas; growing it is the next decision."""
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    mark = {HASH: template_hash(template)}
    labels = {**(template["metadata"].get("labels") or {}), **mark}
    selector = deployment["spec"]["selector"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{mark[HASH]}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {REVISION: revision, **_limits(deployment)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": deployment["spec"].get("minReadySeconds", 0),
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **mark}},
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }


def _limits(deployment: Obj) -> dict[str, str]:
    surge, _ = surge_and_unavailable(deployment)
    return {DESIRED: str(wanted(deployment)), MAXIMUM: str(wanted(deployment) + surge)}


def _revision(replica_set: Obj) -> int:
    annotations: dict[str, Any] = replica_set["metadata"].get("annotations") or {}
    return int(annotations.get(REVISION, 0))


def _until_deadline(deployment: Obj) -> float | None:
    """Seconds until an unfinished rollout counts as stuck."""
    progress = find(deployment["status"]["conditions"], "Progressing")
    if not progress or progress["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    return max(0.1, deadline(deployment) - age(progress["lastUpdateTime"], now()) + 1)
