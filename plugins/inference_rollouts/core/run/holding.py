"""The canary's copies of stable's autoscalers: they keep its size until the rollout has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, annotations_of
from inference_rollouts.core.objects.takeover import Finding, Verdict, finding
from inference_rollouts.core.routing.claim import Floor
from inference_rollouts.core.routing.floors import SCALERS, Scaler, idle_floor, raised_floor

FLOOR = "inference-rollouts.dev/floor"
"""The annotation of a copied autoscaler with its floor as it is on stable, for when the rollout has ended."""
IDLE = "inference-rollouts.dev/idle"
"""The same with how many replicas it leaves there where nobody asks."""


def hold(obj: K8sObject, copy: dict[str, Any], replicas: int) -> Iterator[Finding]:
    """Keep a copied autoscaler from making the canary smaller than it begins, while the rollout runs."""
    kind = _scaler(obj)
    if kind is None:
        return
    spec = copy["spec"]
    if (idle := spec.get(kind.idle)) is not None and idle < replicas:
        del spec[kind.idle]
        yield _held(obj, copy, IDLE, kind.idle, idle, "unset")
    found, most = spec.get(kind.floor), spec.get(kind.ceiling) or kind.most
    if (found if found is not None else kind.least) >= replicas:
        return
    spec[kind.floor] = replicas
    if most < replicas:
        spec[kind.ceiling] = replicas
    yield _held(obj, copy, FLOOR, kind.floor, found, str(replicas))


def _held(
    obj: K8sObject, copy: dict[str, Any], note: str, field: str, found: int | None, held: str
) -> Finding:
    """Remember on a copy what a field of it is on stable, as the annotation `note`."""
    before = "" if found is None else str(found)
    copy["metadata"].setdefault("annotations", {})[note] = before
    why = "while the rollout runs, so that it keeps its size"
    return finding(obj, Verdict.CHANGED, held, f"spec.{field}", before or "unset", why)


def held_floors(manifest: K8sObject) -> Iterator[Floor]:
    """The floors that a copied autoscaler has until the rollout has ended; none of any other object."""
    kind, notes, name = _scaler(manifest), annotations_of(manifest), manifest["metadata"]["name"]
    if kind is None:
        return
    if IDLE in notes:
        yield idle_floor(kind, name, int(notes[IDLE]))
    if (found := notes.get(FLOOR)) is not None:
        yield raised_floor(kind, name, int(found) if found else None, manifest["spec"][kind.floor])


def _scaler(obj: K8sObject) -> Scaler | None:
    """What kind of autoscaler an object is; None where it is none."""
    return next((each for each in SCALERS if each.kind == obj["kind"]), None)
