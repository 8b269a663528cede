"""What people command a run in the world of traffic, and whoever watches obeys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

from inference_rollouts.core.routing.claim import What
from inference_rollouts.core.routing.control import hurried
from inference_rollouts.rollout.control import Control
from inference_rollouts.rollout.switch import read_switch


class Commanded(ABC):
    """The verbs of people, of a run of a `world` that keeps books of what they gave."""

    world: Any
    token: str
    traffic: Any

    @abstractmethod
    def pass_(self, step: int) -> None:
        """The judge lets a step pass."""

    @property
    def wheel(self) -> Control:
        return Control(self.world, self.world.targets, self.token)

    def pause(self, step: int) -> None:
        self.wheel.give("pause", "anna", "")

    def resume(self, step: int) -> None:
        self.wheel.give("resume", "anna", "")

    def raise_now(self, step: int) -> None:
        self.wheel.give("raise_now", "anna", "")

    def promote_now(self, step: int) -> None:
        self.wheel.give("promote_now", "anna", "")

    def abort(self, step: int) -> None:
        self.wheel.give("abort", "anna", "")
        self.world.aborted.add(self.token)

    def obey(self, step: int) -> None:
        """Whoever watches looks, and lets a step pass where that is commanded."""
        claims = self.wheel.obey(self.traffic.claims(), partial(read_switch, self.world))
        if not claims or (command := hurried(claims)) is None:
            return
        at = min(claim.step for claim in claims)
        once = command.what is What.RAISE_NOW
        if once and self.world.hurried.setdefault((self.token, command.sequence), at) != at:
            self.world.broken.append(f"{command} let step {at} pass, too")
        self.pass_(at)
