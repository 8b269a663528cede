"""Quantities of resources, as Kubernetes writes them: `8`, `1k`, `16Gi`, `500m`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, part, parts

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,2}))?")
_UNITS = {"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3")}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}


def units(quantity: Any) -> int:
    """So many whole units; 0 of what is no quantity. An API server writes a thousand as `1k`."""
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        return 0
    number, unit, exponent = found.groups()
    return int(Decimal(number) * _UNITS[unit or ""] * Decimal(10) ** int(exponent or 0))


def requested(pod: K8sObject, resource: str) -> int:
    """What a pod takes of its node: that of all containers that stay, or of one before them if it takes more.

    A container that prepares a pod and is started again for ever stays beside the others.
    """
    staying, most = 0, 0
    for each in parts(pod, "spec", "initContainers"):
        own = _of(each, resource)
        most = max(most, staying + own)
        staying += own if each.get("restartPolicy") == "Always" else 0
    return max(most, staying + sum(_of(each, resource) for each in parts(pod, "spec", "containers")))


def _of(container: K8sObject, resource: str) -> int:
    return units(part(container, "resources", "requests").get(resource, 0))
