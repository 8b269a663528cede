"""Tells people of what a trigger sees, beside it: the trigger waits for nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial

from inference_rollouts.core.judging.judgement import Judgement
from inference_rollouts.core.plan.notifications import Occasion
from inference_rollouts.core.reporting.approval import question
from inference_rollouts.core.reporting.links import answer_page
from inference_rollouts.core.reporting.transition import Transition, figures_of, of_run
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.notifiers import send
from inference_rollouts.rollout.telling import insist
from inference_rollouts.triggers.marks import XComMarks


class Herald:
    """Of one run. What was told is marked, so that another triggerer does not tell it again."""

    def __init__(self, frozen: Frozen, now: Callable[[], float] = time.time) -> None:
        self._frozen = frozen
        self._now = now
        self._begun: set[str] = set()

    def tell(self, transition: Transition) -> None:
        """Tell of a transition, if nobody has, in a thread of its own."""
        if transition.id in self._begun or not self._frozen.plan.notifications:
            return
        self._begun.add(transition.id)
        dag, _, run = self._frozen.run.partition("/")
        act = partial(insist, [transition], self._frozen.plan.notifications, XComMarks(dag, run), send)
        threading.Thread(target=act, name="herald", daemon=True).start()

    def paused(self, step: int, reason: str) -> None:
        """Tell that a person holds the rollout."""
        self.tell(of_run(self._frozen, Occasion.PAUSED, step, reason))

    async def ask(self, judgement: Judgement, since: float) -> None:
        """Tell of a question at once, and again while nobody answers; to be cancelled when somebody does.

        It was asked at `since` (Unix seconds).
        """
        plan = self._frozen.plan
        asked = question(plan, judgement)
        if asked is None:
            return
        page = answer_page(self._frozen.link, f"step_{judgement.step}.ask")
        figures = figures_of(judgement.to_json())
        remind = plan.approvals.remind
        for after, occasion in (
            (0.0, Occasion.ASKED),
            (remind, Occasion.REMINDED),
            (2 * remind, Occasion.ESCALATED),
        ):
            await asyncio.sleep(max(0.0, since + after - self._now()))
            reason = f"{asked.subject} {judgement.reason}"
            self.tell(of_run(self._frozen, occasion, judgement.step, reason, figures, page))
