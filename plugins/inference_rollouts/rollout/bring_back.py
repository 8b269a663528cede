"""One try of the way back: as much as can be served goes back now, and what is left is tried again."""

from __future__ import annotations

from collections.abc import Callable

from inference_rollouts.core.errors import StableUnavailable
from inference_rollouts.rollout.way_back import Restored, WayBack


def bring_back(way_back: WayBack, kept_share: Callable[[int], int], why: str, now: float) -> Restored:
    """Put everything back as found. Raises StableUnavailable while stable cannot take all of it.

    `kept_share` says what the canary, which has so many %, must keep of it for now.
    """
    claims = way_back.claims()
    percent = max((claim.percent for claim in claims), default=0)
    if percent and not way_back.is_decided() and (kept := kept_share(percent)):
        way_back.hold(kept, why)
        raise StableUnavailable(
            f"{claims[0].stable} cannot take all of its traffic now, so {claims[0].canary} has {kept} % "
            "of it for the time being. This is tried again until stable can take all."
        )
    return way_back.restore(why, now)
