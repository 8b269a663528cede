"""What people are to hear of what a guardian sees and does."""

from __future__ import annotations

from collections.abc import Iterator

from inference_rollouts.core.plan.notifications import Occasion
from inference_rollouts.core.reporting.transition import Transition, of_claim
from inference_rollouts.rollout.guardian import Round
from inference_rollouts.rollout.way_back import Restored


def guarded(seen: Round) -> Iterator[Transition]:
    """What people are to hear of a round: rollouts that only this guardian watches, and those it ended."""
    for claim, namespace in seen.taken:
        if claim.undo:  # which nobody but a guardian ever watches
            continue
        why = "Nobody of Airflow watches it: a guardian does, by its guardrails alone."
        yield of_claim(claim, namespace, Occasion.UNWATCHED, why)
    for ended in seen.ended:
        how = Occasion.PROMOTED if ended.how is Restored.COMMITTED else Occasion.ROLLED_BACK
        yield of_claim(ended.claim, ended.namespace, how, f"A guardian ended it: {ended.why}.")
