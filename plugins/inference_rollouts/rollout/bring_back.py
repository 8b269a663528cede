"""One try of the way back: as much as can be served goes back now, and what is left is tried again."""

from __future__ import annotations

from inference_rollouts.core.errors import StableUnavailable
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.way_back import Restored


def bring_back(run: Run, why: str, now: float, *, patient: bool = True) -> Restored:
    """Put everything back as found. Raises StableUnavailable while stable cannot take all of it.

    Until when one is `patient`, see `RolloutKind.kept_share`.
    """
    percent = max((claim.percent for claim in run.traffic.claims()), default=0)
    way_back, plan = run.traffic.way_back, run.plan
    if percent and not way_back.is_decided() and (kept := run.kind.kept_share(run, percent, patient=patient)):
        way_back.hold(kept, why)
        raise StableUnavailable(
            f"{plan.stable} cannot take all of its traffic now, so {plan.canary} has {kept} % of it for the "
            "time being. This is tried again until stable can take all."
        )
    return way_back.restore(why, now)
