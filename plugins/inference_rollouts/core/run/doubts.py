"""What keeps a step from passing by what was counted lately: the traffic, or a picker, does not follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inference_rollouts.core.judging.own_picker import served_and_picked, unasked_picker
from inference_rollouts.core.judging.split import Requests, Split, enough_for, observed_split
from inference_rollouts.core.objects.gateways import hints
from inference_rollouts.core.run.frozen import Frozen


def split_of(frozen: Frozen, share: float, windows: Sequence[Requests]) -> Split:
    """The split that was observed, of one in which the canary should get `share`."""
    least = frozen.plan.analysis.min_requests
    return observed_split(windows, frozen.metric_set.sent, share, least, shared=bool(frozen.shared))


def blockers(frozen: Frozen, split: Split, windows: Sequence[Requests]) -> list[str]:
    """A sentence for each reason."""
    found = [f"The weights are not in force: {split}."] if windows and not split.matches else []
    if unasked := unasked_picker(frozen.metric_set, windows, frozen.plan.analysis.min_requests):
        found.append(unasked)
    return [f"{each} {hints(frozen.parents)}".rstrip() for each in found]


def is_enough(frozen: Frozen, share: float, requests: Mapping[str, tuple[int, int]]) -> bool:
    """Whether windows with so many requests of canary and stable are all that blockers look back at."""
    metric_set, least = frozen.metric_set, frozen.plan.analysis.min_requests
    if frozen.shared or sum(requests[metric_set.sent]) < enough_for(share, least):
        return False
    both = served_and_picked(metric_set)
    return both is None or requests[both[0]][0] >= least


def shared_notes(frozen: Frozen) -> list[str]:
    """What other services on the stable pool mean for the comparison."""
    others, stable = ", ".join(frozen.shared), frozen.plan.stable
    return [f"{stable} serves {others} too, and their requests are compared with."] if others else []
