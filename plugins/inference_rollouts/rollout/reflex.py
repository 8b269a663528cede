"""What an observer does by itself: it takes the traffic away, permits a raise, tells that stable shrinks."""

from __future__ import annotations

import logging

from inference_rollouts.core.errors import ClaimLost
from inference_rollouts.core.judging.judge import Health, Judgement
from inference_rollouts.core.limits import REFLEX_DEADLINE, WRITE_DEADLINE
from inference_rollouts.core.routing.claim import read_claim
from inference_rollouts.rollout.capacity import is_shrunk
from inference_rollouts.rollout.floors import lowered_floors
from inference_rollouts.rollout.observation import ClusterObservation
from inference_rollouts.rollout.retrying import for_seconds
from inference_rollouts.rollout.run import Run

log = logging.getLogger(__name__)


def retreat(run: Run, percent: int, judgement: Judgement, health: Health, *, aborted: bool) -> None:
    """Take away the canary's `percent` %. When that fails, the rollback task still comes.

    `aborted`: people commanded it, and the claim says so already. Else it is taken only from the step that
    was judged: whoever could not see the cluster may be behind.
    """

    def act() -> None:
        if not aborted:
            _require_step(run, judgement.step)
        way_back, kept = run.traffic.way_back, _kept(run, percent, health)
        if aborted:
            way_back.hold(kept, judgement.reason)
        else:
            way_back.retreat(judgement.reason, kept)

    try:
        for_seconds(REFLEX_DEADLINE, hurries=True)(act)
    except Exception as error:
        log.warning("could not take the traffic away at once, the rollback task will: %s", error)


def _require_step(run: Run, step: int) -> None:
    """Raises ClaimLost where other steps alone stand."""
    claims = run.traffic.claims()
    if claims and not any(claim.step == step for claim in claims):
        raise ClaimLost(f"Step {claims[0].step} stands where step {step} was judged; nothing was moved.")


def _kept(run: Run, percent: int, health: Health) -> int:
    """What stable cannot take of it (in %); asked only where stable was seen smaller than before."""
    if health.shared or not percent or not is_shrunk(run.frozen, health):
        return 0
    return run.kind.kept_share(run, percent, patient=True)


def permit(run: Run, judgement: Judgement) -> None:
    """Permit the raise after a step that passed. Raises what the cluster raises."""
    for_seconds(WRITE_DEADLINE)(run.traffic.permit, judgement.step, judgement.time)


def tell_smaller(run: Run, cluster: ClusterObservation) -> None:
    """Tell that stable became smaller, and of an autoscaler that somebody lets do that."""
    ready, before = cluster.health.ready_stable, run.frozen.stable_pods
    floors = [floor for each in cluster.moved if (claim := read_claim(each)) for floor in claim.floors]
    why = "; ".join(lowered_floors(run.cluster, dict.fromkeys(floors)))
    text = f"{run.plan.stable} has {ready} ready pods of the {before} before{why and f': {why}'}"
    log.warning("%s", text)
    run.cluster.event(cluster.moved[0], "StableShrunk", text, warning=True)
