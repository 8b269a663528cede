"""Waves: a rollout that starts by itself comes after others of the same night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inference_rollouts.core.durations import spoken


def waits_for(after: Sequence[str], ended_well: Mapping[str, float], within: float, now: float) -> str:
    """Why a rollout is not to start yet; empty where it may.

    `ended_well`: for each plan whose rollout did, when that was due (Unix seconds). It counts for `within`
    seconds: what ended well the night before lets nothing start tonight.
    """
    missing = [name for name in after if now - ended_well.get(name, float("-inf")) > within]
    if not missing:
        return ""
    return (
        f"It comes after {' and '.join(missing)}, of which no rollout that was due in the last "
        f"{spoken(within)} has ended well."
    )
