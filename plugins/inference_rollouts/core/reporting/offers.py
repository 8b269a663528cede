"""What a person may command of a rollout as its claims are now, and what would happen then."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.errors import CommandRefused
from inference_rollouts.core.reporting.text import capital
from inference_rollouts.core.routing.claim import Claim, What
from inference_rollouts.core.routing.control import command_of, commanded, effect
from inference_rollouts.core.values import Value

TITLES = {
    What.RESUME: "Resume",
    What.PAUSE: "Pause",
    What.SKIP_BAKE: "Skip the bake",
    What.RAISE_NOW: "Raise now",
    What.PROMOTE_NOW: "Promote now",
    What.ABORT: "Abort",
}


class Offer(Value):
    """A command that makes sense: what it is called, and a sentence about the traffic."""

    what: str
    title: str
    effect: str


def offers(claims: Sequence[Claim], now: float) -> list[Offer]:
    """None for a rollout that claims nothing."""
    return [offer for what in TITLES if claims and (offer := _offer(what, claims, now))]


def _offer(what: What, claims: Sequence[Claim], now: float) -> Offer | None:
    command = command_of(what, "somebody", "", claims, now)
    try:
        after = [commanded(claim, command) for claim in claims]
    except CommandRefused:
        return None
    if all(claim is before for claim, before in zip(after, claims, strict=True)):
        return None
    said = effect(after[0], command)
    return Offer(what=what.value, title=TITLES[what], effect=f"{capital(said)}.")
