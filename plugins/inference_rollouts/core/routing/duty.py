"""What a guardian has to do about a rollout, by its claims and leases alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.limits import RETURN_PATIENCE
from inference_rollouts.core.routing.claim import Claim, Phase
from inference_rollouts.core.routing.control import aborted, hold_ends, latest, too_long
from inference_rollouts.core.routing.undo import is_undone
from inference_rollouts.core.routing.watch import Watch


class Duty(StrEnum):
    """What is to be done now."""

    NONE = "none"
    """Somebody else watches, and somebody may still drive."""
    WATCH = "watch"
    """Nobody else watches."""
    END = "end"
    """Nobody drives any more, or somebody who did it is gone: it goes back, or is completed."""


def duty(claims: Sequence[Claim], watches: Sequence[Watch | None], holder: str, now: float) -> Duty:
    """The duty of the guardian `holder` at `now` (the API server's clock) for one rollout's claims.

    `watches` are what the leases beside them say. Whoever goes back while it says so is left alone; one that
    goes forward is so only until `abandon_after` has passed since its next move was due.
    """
    others = [watch for watch in watches if watch and watch.is_fresh(now) and watch.holder != holder]
    if len(others) < len(claims) and any(_is_ending(claim) for claim in claims):
        return Duty.END
    if now > abandoned_at(claims) and not any(claim.phase is Phase.RETURNING for claim in claims):
        return Duty.END
    return Duty.NONE if len(others) == len(claims) else Duty.WATCH


def abandoned_at(claims: Sequence[Claim]) -> float:
    """From when on nobody is believed to drive: a time of the API server's clock, infinite for never.

    What is paused nobody need drive for as long as a pause may last, but where the plan goes back at the end
    of a window: a pause puts that off no more than anything else does.
    """
    return max((_due(claim) + claim.abandon_after for claim in claims), default=math.inf)


def _due(claim: Claim) -> float:
    """By when somebody must have moved on; infinite for never."""
    leave = math.inf if claim.leave_by is None else claim.leave_by
    if claim.phase is Phase.PAUSED:
        return min(leave, hold_ends(claim))
    if claim.next_move_by is None:
        return leave
    return min(claim.next_move_by, leave)


def is_patient(claims: Sequence[Claim], now: float) -> bool:
    """Whether a stable pool that became smaller is still waited for on the way back."""
    began = [claim.next_move_by for claim in claims if claim.phase is Phase.RETURNING and claim.next_move_by]
    return not began or now < max(began) + RETURN_PATIENCE


def why_ended(claims: Sequence[Claim], now: float) -> str:
    """One sentence for people: why a guardian ended a rollout."""
    if any(claim.alarm for claim in claims):
        return "after an alarm nobody else finished the way back"
    if command := aborted(claims):
        return f"aborted by {command}"
    if is_undone(claims):
        return f"undone by {latest(claims)}, and no guardrail raised an alarm"
    if any(_is_ending(claim) for claim in claims):
        return "it was being ended, and nobody else finished it"
    if words := too_long(claims, now):
        return words.rstrip(".")
    due = max((each for each in map(_due, claims) if math.isfinite(each)), default=now)
    late = format_duration(max(0.0, round(now - due)))
    return f"nobody drove it any more: its next move was due {late} ago"


def _is_ending(claim: Claim) -> bool:
    return claim.phase is Phase.RETURNING or claim.committed
