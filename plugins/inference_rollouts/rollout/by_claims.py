"""Ending a rollout by its claims alone: what can be served goes back, what was committed is completed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.core.routing.duty import is_patient
from inference_rollouts.core.routing.undo import is_undone
from inference_rollouts.core.serving.way_back import kept_share
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.bring_back import bring_back
from inference_rollouts.rollout.sizes import bring_back_size
from inference_rollouts.rollout.undo import complete
from inference_rollouts.rollout.way_back import Restored, WayBack


def end_by_claims(cluster: Cluster, way_back: WayBack, why: str, now: float) -> Restored:
    """One try. Raises StableUnavailable while stable cannot take all of its traffic.

    What undoes a promotion stays so. Nobody knows the load here: a stable pool that became smaller is waited
    for with patience, see `duty`.
    """
    claims = way_back.claims()
    if is_undone(claims):
        complete(way_back, now)
        return Restored.COMMITTED
    patient = is_patient(claims, cluster.time())
    kept = partial(kept_by_claims, cluster, claims, patient=patient)
    return bring_back(way_back, lambda _: kept(), why, now, patient=patient)


def kept_by_claims(cluster: Cluster, claims: Sequence[Claim], *, patient: bool = True) -> int:
    """What the canary must keep for now (in %); what is ours is brought back to its size first.

    Nothing of a claim that does not say how much stable was, and of adapters, which the same pods serve.
    """
    guard = next((claim.guard for claim in claims if claim.guard), None)
    if guard is None or guard.stable_pool == guard.canary_pool:
        return 0
    stable, canary = (availability_of(cluster, pool) for pool in (guard.stable_pool, guard.canary_pool))
    if stable.available and stable.pods >= guard.pods:
        return 0
    bring_back_size(cluster, claims[0].plan, guard.stable_pool, guard.pods)
    percent = max(claim.percent for claim in claims)
    return kept_share(stable, canary, percent, guard.pods if patient else stable.pods)
