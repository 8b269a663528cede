"""One try of the way back: as much as can be served goes back now, and what is left is tried again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from inference_rollouts.core.errors import Forbidden, RolloutError, RouteDrift, StableUnavailable
from inference_rollouts.core.limits import REFUSAL_LASTS
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.retrying import for_seconds
from inference_rollouts.rollout.way_back import Restored, WayBack

log = logging.getLogger(__name__)


def bring_back(
    way_back: WayBack, kept_share: Callable[[int], int], why: str, now: float, *, patient: bool = True
) -> Restored:
    """Put everything back as found. Raises StableUnavailable while stable cannot take all of it.

    `kept_share` says what the canary, which has so many %, must keep of it for now. Where it cannot say, all
    goes back: at once if that will not pass by itself; where pods may not be read, when that is waited for no
    longer (not `patient`). What passes is tried again: else stable might get traffic that it cannot take.
    """
    claims = way_back.claims()
    percent = max((claim.percent for claim in claims), default=0)
    if percent and not way_back.is_decided() and (kept := _kept(way_back, kept_share, percent, patient)):
        way_back.hold(kept, why)
        raise StableUnavailable(
            f"{claims[0].stable} cannot take all of its traffic now, so {claims[0].canary} has {kept} % "
            "of it for the time being. This is tried again until stable can take all."
        )
    try:
        return way_back.restore(why, now)
    except RouteDrift:
        if not (lost := _lost(way_back, claims)):
            raise
    way_back.retreat(f"{lost} It goes back whoever set these weights: {why}")
    return way_back.restore(why, now)


def _lost(way_back: WayBack, claims: Sequence[Claim]) -> str:
    """Why what the canary gets is lost, while stable can take it; empty where it is not, or nobody knows."""
    guard = next((claim.guard for claim in claims if claim.guard), None)
    if guard is None or guard.stable_pool == guard.canary_pool:
        return ""
    try:
        stable, canary = (
            availability_of(way_back.writer.cluster, pool) for pool in (guard.stable_pool, guard.canary_pool)
        )
    except Exception as error:
        log.warning("whether the canary can take what it gets is not known: %s", error)
        return ""
    return canary.sentence if stable.available and not canary.available else ""


def _kept(way_back: WayBack, kept_share: Callable[[int], int], percent: int, patient: bool) -> int:
    try:
        return kept_share(percent)
    except RolloutError as error:
        log.warning("what stable can take is not known, so all of it goes back: %s", error)
        return 0
    except Exception as error:
        way_back.begin()
        if patient or not isinstance(error, Forbidden):
            raise
        return _refused_for_good(kept_share, percent)


def _refused_for_good(kept_share: Callable[[int], int], percent: int) -> int:
    """As `kept_share` says, unless pods may not be read for REFUSAL_LASTS either: 0."""
    try:
        return for_seconds(REFUSAL_LASTS)(kept_share, percent)
    except Forbidden as error:
        log.warning("what stable can take may not be known, so all of it goes back: %s", error)
        return 0
