"""ReplicaSet -> Pods."""

from __future__ import annotations

from datetime import datetime

from lab.controllers.ownership import claim, controller_of, matches, owner_reference
from lab.controllers.rollout import wanted
from lab.kube.client import KubeError
from lab.kube.clock import age, now
from lab.kube.conditions import condition, find, is_true, settle
from lab.kube.objects import Obj, key_of
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

MANAGER = "kube-controller-manager"
COMPONENT = "replicaset-controller"


class ReplicaSets:
    """Reconciles ReplicaSets."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loop: Loop[tuple[str, str]] = Loop("replicaset", self._reconcile)
        store.on_change("ReplicaSet", lambda obj: self.loop.add(key_of(obj)))
        store.on_change("Pod", self._changed)

    def _changed(self, pod: Obj) -> None:
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels")
        if owner := controller_of(pod):
            self.loop.add((namespace, owner["name"]))
            return
        for replica_set in self._store["ReplicaSet"].list(namespace):
            if matches(replica_set["spec"]["selector"], labels):
                self.loop.add(key_of(replica_set))

    async def _reconcile(self, key: tuple[str, str]) -> float | None:
        replica_set = self._store["ReplicaSet"].get(*key)
        if replica_set is None:
            return None
        pods = await claim(self._store, replica_set, "Pod", MANAGER)
        active = [pod for pod in pods if is_active(pod)]
        failure = None
        if "deletionTimestamp" not in replica_set["metadata"]:
            failure = await self._scale(replica_set, active)
            active = [pod for pod in self._pods_of(replica_set) if is_active(pod)]
        status, soon = _status(replica_set, active, failure, now())
        await self._store.write_status(replica_set, status, MANAGER)
        if failure:
            raise failure
        return soon

    def _pods_of(self, replica_set: Obj) -> list[Obj]:
        uid = replica_set["metadata"]["uid"]
        pods = self._store["Pod"].list(replica_set["metadata"]["namespace"])
        return [pod for pod in pods if (owner := controller_of(pod)) and owner["uid"] == uid]

    async def _scale(self, replica_set: Obj, active: list[Obj]) -> KubeError | None:
        """Create or delete what is missing or too much; returns what the API server refused."""
        excess = len(active) - wanted(replica_set)
        try:
            for _ in range(-excess):
                pod = await self._store.create(_pod(replica_set), MANAGER)
                await self._tell(replica_set, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        except KubeError as error:
            await self._tell(replica_set, "FailedCreate", f"Error creating: {error.message}", "Warning")
            return error
        for pod in sorted(active, key=_expendable)[: max(0, excess)]:
            await self._store.delete(pod)
            await self._tell(replica_set, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
        return None

    async def _tell(self, replica_set: Obj, reason: str, message: str, kind: str = "Normal") -> None:
        await self._store.event(replica_set, kind, reason, message, COMPONENT)


def is_active(pod: Obj) -> bool:
    """Whether the pod counts: it has neither ended nor been told to."""
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not ended and "deletionTimestamp" not in pod["metadata"]


def _pod(replica_set: Obj) -> Obj:
    template = replica_set["spec"]["template"]
    metadata = template["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{replica_set['metadata']['name']}-",
            "namespace": replica_set["metadata"]["namespace"],
            "labels": metadata.get("labels") or {},
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [owner_reference(replica_set)],
        },
        "spec": template["spec"],
    }


def _expendable(pod: Obj) -> tuple[object, ...]:
    """A sort key: the pods that are missed least first."""
    ready = find(pod.get("status", {}).get("conditions"), "Ready")
    is_ready = ready is not None and ready["status"] == "True"
    since = ready["lastTransitionTime"] if ready and is_ready else ""
    phases = {"Pending": 0, "Unknown": 1}
    return (
        bool(pod["spec"].get("nodeName")),
        phases.get(pod.get("status", {}).get("phase", "Pending"), 2),
        is_ready,
        _newest_first(since),
        _newest_first(pod["metadata"].get("creationTimestamp", "")),
        pod["metadata"]["name"],
    )


def _newest_first(text: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in text)


def _status(
    replica_set: Obj, active: list[Obj], failure: KubeError | None, moment: datetime
) -> tuple[Obj, float | None]:
    """The new status, and in how many seconds another pod may have become available."""
    patience = replica_set["spec"].get("minReadySeconds") or 0
    template_labels = replica_set["spec"]["template"]["metadata"].get("labels") or {}
    ready = [pod for pod in active if is_true(pod, "Ready")]
    waits = [patience - age(_ready_since(pod), moment) for pod in ready] if patience else []
    labelled = [pod for pod in active if template_labels.items() <= pod["metadata"].get("labels", {}).items()]
    counts = {
        "fullyLabeledReplicas": len(labelled),
        "readyReplicas": len(ready),
        "availableReplicas": len(ready) - sum(1 for wait in waits if wait > 0),
    }
    status: Obj = {
        "replicas": len(active),
        "observedGeneration": replica_set["metadata"]["generation"],
        **{name: count for name, count in counts.items() if count},
    }
    if failure:
        made = condition("ReplicaFailure", True, "FailedCreate", failure.message)
        status["conditions"] = settle(replica_set.get("status", {}).get("conditions"), [made], moment)
    return status, min((wait for wait in waits if wait > 0), default=None)


def _ready_since(pod: Obj) -> str:
    ready = find(pod["status"]["conditions"], "Ready")
    return str(ready["lastTransitionTime"]) if ready else ""
