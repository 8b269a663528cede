"""The step that stands, counted for the page, and the windows and records of all steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from inference_rollouts.console.kept import FOREVER, FRESH, Kept
from inference_rollouts.console.known import Known
from inference_rollouts.console.live import LiveStep, LiveView
from inference_rollouts.console.protocols import World
from inference_rollouts.core.errors import DecisionRecordBroken, PrometheusUnavailable
from inference_rollouts.core.judging.carried import Carried
from inference_rollouts.core.judging.decision_record import StepRecord, read, windows_in
from inference_rollouts.core.judging.judgement import Judgement
from inference_rollouts.core.judging.window_counts import WindowCounts
from inference_rollouts.core.reporting.approval import watched as watched_step
from inference_rollouts.core.reporting.ladder import Rung, judgement_of, ladder
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.run.frozen import Frozen

STEPS = 64  # that are kept counted

log = logging.getLogger(__name__)


class Standing:
    """The steps that stand, of the runs of a world."""

    def __init__(self, world: World, known: Known, now: Callable[[], float], patience: float) -> None:
        self._world = world
        self._known = known
        self._now = now
        self._views: Kept[LiveView] = Kept(FRESH, patience=patience, waits=patience)
        self._steps: Kept[LiveStep] = Kept(FOREVER, most=STEPS)

    def live(self, seen: SeenRun, frozen: Frozen) -> LiveView | None:
        """The step that stands, counted; None where none does, or the metrics store does not answer."""
        if seen.is_over or (step := self._standing_step(seen, frozen)) is None:
            return None
        prometheus, pods = self._world.clients(frozen).prometheus, self._known.pods(seen, frozen)
        own = None if pods is None else {("servers", name) for name in pods}
        try:
            return self._views.get((frozen.token, step), lambda: step.look(prometheus, self._now(), own))
        except (PrometheusUnavailable, TimeoutError) as error:
            log.info("the step that stands is not counted: %s", error)
            return None

    def _standing_step(self, seen: SeenRun, frozen: Frozen) -> LiveStep | None:
        """The step whose judge has not concluded, or that is watched while something else is waited for."""
        rungs = ladder(frozen.plan, seen, None)
        current = next((rung for rung in reversed(rungs) if rung.since is not None), None)
        if current is None:
            return None
        judgement = judgement_of(seen, current.step)
        key = (frozen.token, current.step, current.since, bool(judgement))
        return self._steps.get(key, lambda: _step_of(frozen, current, seen, judgement))

    def windows(self, seen: SeenRun, frozen: Frozen, live: LiveView | None) -> Iterator[WindowCounts]:
        """Of all steps, in order: from the records of those that were judged, and of the one that stands."""
        for number in range(1, len(frozen.plan.all_steps) + 1):
            for task in ("judge", "ask"):
                if lines := seen.left(f"step_{number}.{task}", "record"):
                    try:
                        yield from windows_in(lines)
                    except DecisionRecordBroken as error:
                        log.info("%s", error)
        if live:
            yield from live.windows

    def recorded(self, seen: SeenRun, frozen: Frozen) -> int:
        """The steps that were judged, whose judges left their records."""
        return sum(1 for _ in _left(seen, frozen))

    def records(self, seen: SeenRun, frozen: Frozen) -> Iterator[StepRecord]:
        """Of the steps that were judged, and of the one that is. Raises DecisionRecordBroken."""
        for lines in _left(seen, frozen):
            yield read(lines)
        if not seen.is_over and self.live(seen, frozen):
            step = self._standing_step(seen, frozen)
            if step and step.is_judged:
                yield step.record()


def _left(seen: SeenRun, frozen: Frozen) -> Iterator[list[str]]:
    """The records that judges left, step by step."""
    for number in range(1, len(frozen.plan.all_steps) + 1):
        if lines := seen.left(f"step_{number}.judge", "record"):
            yield lines


def _step_of(frozen: Frozen, rung: Rung, seen: SeenRun, judgement: dict[str, Any] | None) -> LiveStep:
    assert rung.since is not None
    if judgement:
        last = Judgement.from_json(judgement)
        watching, context = watched_step(frozen, rung.step, last.windows_end or last.time)
        return LiveStep(watching, context, last.handed_on, is_judged=False)
    before = judgement_of(seen, rung.step - 1) if rung.step > 1 else None
    carried = Carried.from_json(before["carried"]) if before else Carried()
    return LiveStep(frozen, frozen.plan.step_context(rung.step, rung.since), carried)
