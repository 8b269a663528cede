"""A claim on an object without a cluster: the patches of `core.routing`, applied."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing import drift, patches
from inference_rollouts.core.routing.claim import Claim, Ending, LastEnding, Owner
from inference_rollouts.core.routing.route import select_places
from tests.support.json_patch import apply_patch

RUN, TOKEN = "rollout_llm/r1", "5f3a"


def claim_on(live: K8sObject, stable: str = "llm-pool", canary: str = "new") -> Claim:
    places = select_places(live, stable)
    return Claim(token=TOKEN, owner=Owner(run=RUN), stable=stable, canary=canary, steps=3, places=places)


def attached(live: K8sObject, stable: str = "llm-pool", canary: str = "new") -> dict[str, Any]:
    return apply_patch(live, patches.attach_patch(live, claim_on(live, stable, canary)))


def own(live: K8sObject) -> Claim:
    """This rollout's claim, if all is as it was left."""
    claim = drift.own_claim(live, TOKEN)
    drift.in_order(live, claim)
    return claim


def shifted(live: K8sObject, percent: int, step: int = 1, mirror: int = 0) -> dict[str, Any]:
    claim = own(live)
    moved = claim.with_(percent=percent, step=step, since=1000.0, mirror=mirror)
    return apply_patch(live, patches.shift_patch(live, claim, moved))


def restored(live: K8sObject) -> dict[str, Any]:
    claim = drift.own_claim(live, TOKEN)
    return apply_patch(live, patches.restore_patch(live, claim, ending(claim)))


def ending(claim: Claim, how: Ending = Ending.RESTORED) -> LastEnding:
    return patches.ending_of(claim, how, 2000.0)
