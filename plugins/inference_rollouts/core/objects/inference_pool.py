"""InferencePools, in the two shapes that clusters serve: v1, and the older v1alpha2."""

from __future__ import annotations

from collections.abc import Iterable

from inference_rollouts.core.objects.k8s import K8sObject, parts


def pod_labels(pool: K8sObject) -> dict[str, str]:
    """The labels by which a pool selects its pods; empty when it selects by nothing."""
    selector = pool["spec"].get("selector") or {}
    old = "targetPortNumber" in pool["spec"]
    return dict(selector if old else selector.get("matchLabels") or {})


def ports(pool: K8sObject) -> list[int]:
    """The ports on which each pod of a pool has a model server."""
    spec = pool["spec"]
    if "targetPortNumber" in spec:
        return [int(spec["targetPortNumber"])]
    return [int(port["number"]) for port in spec.get("targetPorts") or ()]


def server_name(pod: str, port: int, ports: list[int]) -> str:
    """What a pod's model server at one of a pool's ports is called: as the pod, where it has one alone."""
    return f"{pod}:{port}" if len(ports) > 1 else pod


def pod_of(server: str) -> str:
    """The pod of a model server, by its name."""
    return server.partition(":")[0]


def port_spellings(pool: K8sObject, specs: Iterable[K8sObject]) -> tuple[tuple[str, ...], ...]:
    """By port of a pool how metrics may call it: by its number, or as containers in the `specs` of its pods
    do. Empty for a pool with one port, whose pods have one server each."""
    numbers = ports(pool)
    if len(numbers) < 2:
        return ()
    said = [
        port
        for spec in specs
        for kind in ("containers", "initContainers")
        for container in parts(spec, kind)
        for port in parts(container, "ports")
    ]
    return tuple(
        (str(number), *sorted({str(each["name"]) for each in said if _is_named(each, number)}))
        for number in numbers
    )


def _is_named(port: K8sObject, number: int) -> bool:
    return port.get("containerPort") == number and bool(port.get("name"))
