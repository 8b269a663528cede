"""The step that stands, counted and judged again for whoever looks: by the judge's own queries and rules.

It writes nothing. It knows what the metrics store knows; of what the judge sees in the cluster besides
(crashes, conditions, room) the judge's own status tells.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.core.judging.carried import Carried
from inference_rollouts.core.judging.counterfactual import log_evidence_of
from inference_rollouts.core.judging.counters import Counters, Exporter
from inference_rollouts.core.judging.counts import Grid, Snapshot, pods_in
from inference_rollouts.core.judging.decision_record import Seen, StepRecord
from inference_rollouts.core.judging.judge import absorb, begin, conclude
from inference_rollouts.core.judging.judgement import Judgement
from inference_rollouts.core.judging.policy import Health, StepContext
from inference_rollouts.core.judging.queries import keyed, queries
from inference_rollouts.core.judging.rows import least_goodness, rounded
from inference_rollouts.core.judging.window_counts import WindowCounts
from inference_rollouts.core.limits import CATCH_UP
from inference_rollouts.core.reporting.turning import turning_points
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.observation import beside, in_order, snapshots

MOST_WINDOWS = 720  # of a step that is looked at all the time, after which it is counted anew

BY_COUNTS = Health(ready_canary=1, ready_stable=1)
"""All that is not seen here counts as well: the verdict is that of the counts alone."""


@dataclass(frozen=True, slots=True)
class LiveView:
    """What was counted of a step so far: after each window the `evidence` that the canary is worse, and the
    `goodness`, that it is good enough, where that is asked for; and what would turn the verdict."""

    windows: tuple[WindowCounts, ...]
    evidence: tuple[tuple[float, float], ...]
    goodness: tuple[tuple[float, float], ...]
    judgement: Judgement
    turning: tuple[str, ...]


class LiveStep:
    """One step of a run; each `look` counts what has passed since the last.

    One that stands for days, as while it is paused, is counted anew now and then, in the few long windows of
    who looks at it for the first time: it never has more than MOST_WINDOWS and those of one look.

    `is_judged`: its judge has not concluded. Else it is only watched on, as while a person thinks.
    """

    def __init__(
        self, frozen: Frozen, step: StepContext, carried: Carried, *, is_judged: bool = True
    ) -> None:
        plan = frozen.plan
        policy = plan.analysis
        self.is_judged = is_judged
        self._frozen = frozen
        self._step = step
        self._carried = carried
        self._grid = Grid(step.anchor, policy.interval, policy.scrape_delay)
        self._arms = frozen.arm_at_home(plan.canary), frozen.arm_at_home(plan.stable)
        self._queries = queries(frozen.metric_set, *self._arms)
        self._lock = threading.Lock()
        self._windows: list[WindowCounts] = []
        self._evidence: list[tuple[float, float]] = []
        self._goodness: list[tuple[float, float]] = []
        self._begin()

    def _begin(self) -> None:
        """Nothing is counted yet."""
        metric_set = self._frozen.metric_set
        self._counters = Counters(metric_set, *self._arms, self._step.anchor)
        self._sums = begin(self._frozen.plan.analysis, metric_set, self._step, self._carried)
        for counted in (self._windows, self._evidence, self._goodness):
            counted.clear()
        self._done = 0

    def look(self, prometheus: Prometheus, now: float, own: Collection[Exporter] | None = None) -> LiveView:
        """`own` are the pods that the cluster has (None: nobody knows). Raises PrometheusUnavailable."""
        with self._lock:
            if len(self._windows) >= MOST_WINDOWS:
                self._begin()
            if due := self._grid.missed(self._done, now, CATCH_UP):
                answers = self._asked(prometheus, due)
                ours = own and {*own, *self._gone(answers)}
                for seen in answers:
                    if (window := self._counters.observe(seen, ours)) is not None:
                        self._absorb(window)
                self._done = self._grid.passed(now)
            judgement = conclude(self._sums, BY_COUNTS, now)
            return LiveView(
                tuple(self._windows),
                tuple(self._evidence),
                tuple(self._goodness),
                judgement,
                tuple(turning_points(self._sums, judgement)),
            )

    def _asked(self, prometheus: Prometheus, due: Sequence[float]) -> list[Snapshot]:
        more = beside(self._queries, due, self._counters.wanted(self._grid.anchor, due[-1]))
        others = (snapshots(prometheus, [query], times) for query, times in more)
        return in_order(snapshots(prometheus, self._queries, due), *others)

    def _gone(self, answers: Sequence[Snapshot]) -> Iterator[Exporter]:
        """Who has exported and does no more: whoever else there is goes on."""
        for key, each in keyed(self._frozen.metric_set):
            label = each.arm_of(self._frozen.arm(self._frozen.plan.stable)).label
            asked = [Snapshot(a.time, {key: a.samples[key]}) for a in answers if key in a.samples]
            shown = [pods_in(answer, each.pod, label) for answer in asked]
            for name in frozenset().union(*shown) - shown[-1]:
                yield each.exporters, name

    def record(self) -> StepRecord:
        """The step so far as a decision record, which can be judged again."""
        policy, metric_set = self._frozen.plan.analysis, self._frozen.metric_set
        with self._lock:
            return StepRecord({}, policy, metric_set, self._step, self._carried, tuple(self._seen()))

    def _absorb(self, window: WindowCounts) -> None:
        self._sums = absorb(self._sums, window)
        self._windows.append(window)
        self._evidence.append((window.end, rounded(log_evidence_of(self._sums))))
        if (good := least_goodness(self._sums)) is not None:
            self._goodness.append((window.end, good))

    def _seen(self) -> Iterator[Seen]:
        at = self._windows[-1].end if self._windows else self._step.started_at
        judgement = conclude(self._sums, BY_COUNTS, at).to_json()
        yield Seen(tuple(self._windows), BY_COUNTS, judgement)
