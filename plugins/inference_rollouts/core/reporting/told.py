"""What has been told already, and what is to be told now: at least once, and again only when nobody knows.

A mark stands for one transition and one of the plan's notifications. It is set before a message is sent and
confirmed afterwards. Who is killed in between leaves it unconfirmed: after a while the message is sent again,
with the same id.
"""

from __future__ import annotations

from typing import Protocol

from inference_rollouts.core.limits import TELLING_FORGOTTEN
from inference_rollouts.core.reporting.transition import Transition
from inference_rollouts.core.values import Value


class Mark(Value):
    """A message that was begun at `at` (Unix seconds), and whether its receiver took it."""

    at: float
    taken: bool = False


class Marks(Protocol):
    """Where marks are kept for as long as the rollout is remembered; by name."""

    def get(self, name: str) -> Mark | None:
        """The mark of this name, None where there is none."""

    def set(self, name: str, mark: Mark) -> None:
        """Keep a mark."""


def mark_name(transition: Transition, place: int) -> str:
    """The name of the mark of a transition and of the plan's notification at `place`, from 0."""
    return f"told.{transition.occasion.value}.{transition.step}.{place}"


def is_due(mark: Mark | None, now: float) -> bool:
    """Whether nobody has told it, or who began to has not been heard of since."""
    return mark is None or (not mark.taken and now > mark.at + TELLING_FORGOTTEN)
