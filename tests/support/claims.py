"""A claim on an object without a cluster: the patches of `core.routing`, applied."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing import claim as claims
from inference_rollouts.core.routing import patches
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.core.routing.route import select_places
from tests.support.json_patch import apply_patch

RUN = "rollout_llm/r1"


def attached(live: K8sObject, stable: str = "llm-pool", canary: str = "new") -> dict[str, Any]:
    places = select_places(live, stable)
    return apply_patch(live, patches.attach_patch(live, Claim(RUN, stable, canary, places)))


def shifted(live: K8sObject, percent: int, step: int = 1, mirror: int = 0) -> dict[str, Any]:
    claim = claims.own_claim(live, RUN)
    return apply_patch(live, patches.shift_patch(live, claim, percent, step, 1000.0, mirror))


def restored(live: K8sObject) -> dict[str, Any]:
    return apply_patch(live, patches.restore_patch(live, claims.own_claim(live, RUN)))
