"""What the canary must keep for now on the way back: traffic goes only where it can be served."""

from __future__ import annotations

import math

from inference_rollouts.core.serving.availability import Availability


def kept_share(stable: Availability, canary: Availability, percent: int, needed: int) -> int:
    """The canary's share (in %) while stable is as it is; 0: all of it can go back now.

    `percent` is what it has, `needed` how many pods carry everything. With stable able to take nothing and
    the canary serving, the canary gets everything rather than a part being lost. With both unable, nothing is
    gained by waiting.
    """
    if not canary.available:
        return 0
    if not stable.available:
        return 100
    return fitting_share(stable.pods, percent, needed)


def fitting_share(stable_pods: int, percent: int, needed: int) -> int:
    """What the canary keeps (at most `percent`) so that stable's pods get no more than they can carry."""
    if stable_pods >= needed:
        return 0
    return min(percent, math.ceil(100 * (1 - stable_pods / needed)))
