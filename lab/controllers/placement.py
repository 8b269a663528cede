"""Which node a pod fits on, and if none, why: values in, values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from lab.controllers.ownership import matches_expression
from lab.kube.objects import Obj

Resources = Mapping[str, Decimal]

SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}


@dataclass(frozen=True, slots=True)
class Placement:
    """The chosen node, or (`node` None) the scheduler's message."""

    node: str | None
    message: str = ""


def quantity(text: str | int | float) -> Decimal:
    """A Kubernetes quantity such as `500m`, `16Gi` or `8`."""
    text = str(text)
    number = text.rstrip("numkMGTPEKi")
    return Decimal(number) * SUFFIXES[text[len(number) :]]


def requests_of(pod: Obj) -> dict[str, Decimal]:
    """What a pod asks for: the sum of its containers, but at least its largest init container."""
    summed: Counter[str] = Counter()
    for container in pod["spec"]["containers"]:
        for name, amount in _requests(container).items():
            summed[name] += amount  # type: ignore[assignment]
    asked = {name: Decimal(amount) for name, amount in summed.items()}
    for container in pod["spec"].get("initContainers") or []:
        for name, amount in _requests(container).items():
            asked[name] = max(asked.get(name, Decimal(0)), amount)
    return {**asked, "pods": Decimal(1)}


def _requests(container: Obj) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity(amount) for name, amount in asked.items()}


def place(pod: Obj, nodes: Sequence[Obj], pods: Iterable[Obj]) -> Placement:
    """Choose the node that has most left, where the pod fits; `pods` are those already on nodes."""
    if not nodes:
        return Placement(None, "no nodes available to schedule pods")
    used = _used(pods)
    reasons: Counter[str] = Counter()
    fitting: list[tuple[Decimal, str]] = []
    asked = requests_of(pod)
    for node in nodes:
        name = node["metadata"]["name"]
        free = _free(node, used.get(name, {}))
        misfits = _misfits(pod, node, asked, free)
        reasons.update(misfits)
        if not misfits:
            fitting.append((_fullness(node, asked, free), name))
    if fitting:
        return Placement(min(fitting)[1])
    why = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    none = f"0/{len(nodes)} nodes are available"
    useless = f"{len(nodes)} Preemption is not helpful for scheduling."
    return Placement(None, f"{none}: {why}. preemption: {none}: {useless}")


def _used(pods: Iterable[Obj]) -> dict[str, dict[str, Decimal]]:
    used: dict[str, dict[str, Decimal]] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if not node or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            continue
        on_node = used.setdefault(node, {})
        for name, amount in requests_of(pod).items():
            on_node[name] = on_node.get(name, Decimal(0)) + amount
    return used


def _free(node: Obj, used: Resources) -> dict[str, Decimal]:
    allocatable = node.get("status", {}).get("allocatable") or {}
    return {name: quantity(amount) - used.get(name, Decimal(0)) for name, amount in allocatable.items()}


def _misfits(pod: Obj, node: Obj, asked: Resources, free: Resources) -> list[str]:
    if node["spec"].get("unschedulable"):
        return ["node(s) were unschedulable"]
    if taint := _untolerated(pod, node):
        value = taint.get("value", "")
        return [f"node(s) had untolerated taint {{{taint['key']}: {value}}}"]
    if not _selected(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    short = [name for name, amount in asked.items() if amount > free.get(name, Decimal(0))]
    return ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in short]


def _untolerated(pod: Obj, node: Obj) -> Obj | None:
    tolerations = pod["spec"].get("tolerations") or []
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] != "PreferNoSchedule" and not any(tolerates(each, taint) for each in tolerations):
            untolerated: Obj = taint
            return untolerated
    return None


def tolerates(toleration: Obj, taint: Obj) -> bool:
    """Whether a toleration lets a pod bear a taint."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    same_key: bool = toleration.get("key") == taint["key"]
    return same_key and toleration.get("value", "") == taint.get("value", "")


def _selected(pod: Obj, node: Obj) -> bool:
    labels = node["metadata"].get("labels") or {}
    if not (pod["spec"].get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(
        all(matches_expression(each, labels) for each in term.get("matchExpressions") or [])
        for term in required["nodeSelectorTerms"]
    )


def _fullness(node: Obj, asked: Resources, free: Resources) -> Decimal:
    """The largest share of any asked resource that would be in use on the node."""
    allocatable = node["status"]["allocatable"]
    shares = [
        1 - (free[name] - amount) / quantity(allocatable[name])
        for name, amount in asked.items()
        if quantity(allocatable.get(name, 0))
    ]
    return max(shares, default=Decimal(0))
