"""A pod's status from the state of its containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lab.kube.conditions import condition, find, settle
from lab.kube.objects import Obj


@dataclass(slots=True)
class ContainerState:
    """What a container status reports. `state` and `last_state` are the API's own objects."""

    name: str
    image: str
    state: Obj = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Obj = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0

    def report(self, pod: str) -> Obj:
        """The entry of `containerStatuses`."""
        began = self.restarts or "waiting" not in self.state
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"lab://{self.image}",
            "containerID": f"lab://{pod}/{self.name}/{self.restarts}" if began else "",
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
        }


def pod_status(
    pod: Obj, containers: Sequence[ContainerState], address: str, host: str, start: str, moment: datetime
) -> Obj:
    """The status of `pod`, whose containers are in these states; transition times are kept."""
    before = pod.get("status", {}).get("conditions")
    return {
        "phase": phase(containers, pod["spec"].get("restartPolicy", "Always")),
        "conditions": settle(before, _conditions(pod, containers), moment),
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": start,
        "containerStatuses": [container.report(pod["metadata"]["name"]) for container in containers],
    }


def phase(containers: Sequence[ContainerState], restart_policy: str) -> str:
    """Pending until every container has run once; Succeeded or Failed when none will run again."""
    if any("waiting" in container.state and not container.last_state for container in containers):
        return "Pending"
    codes = [container.state.get("terminated", {}).get("exitCode") for container in containers]
    over = restart_policy == "Never" or (restart_policy == "OnFailure" and not any(codes))
    if None in codes or not over:
        return "Running"
    return "Failed" if any(codes) else "Succeeded"


def _conditions(pod: Obj, containers: Sequence[ContainerState]) -> list[Obj]:
    unready = [container.name for container in containers if not container.ready]
    message = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    reason = "ContainersNotReady" if unready else ""
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    closed = [gate for gate in gates if not _is_true(pod, gate)]
    ready = condition("Ready", not unready, reason, message)
    if closed and not unready:
        ready = condition("Ready", False, "ReadinessGatesNotReady", f"gates not ready: {', '.join(closed)}")
    return [
        condition("PodScheduled", True, ""),
        condition("PodReadyToStartContainers", True, ""),
        condition("Initialized", True, ""),
        condition("ContainersReady", not unready, reason, message),
        ready,
    ]


def _is_true(pod: Obj, kind: str) -> bool:
    entry = find(pod.get("status", {}).get("conditions"), kind)
    return entry is not None and entry["status"] == "True"
