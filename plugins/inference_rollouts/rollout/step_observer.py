"""One step under observation: at the ticks of its time grid, one judgement an observation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

from inference_rollouts.clients.line import Line
from inference_rollouts.core.judging.counters import Counters
from inference_rollouts.core.judging.decision_record import DecisionRecorder
from inference_rollouts.core.judging.first_word import FirstWord
from inference_rollouts.core.judging.judge import (
    Carried,
    Evidence,
    Health,
    Judgement,
    StepContext,
    Verdict,
    absorb,
    begin,
    conclude,
    handing_on,
)
from inference_rollouts.core.judging.pace import Pace
from inference_rollouts.core.judging.queries import queries
from inference_rollouts.core.judging.split import Latest
from inference_rollouts.core.judging.window_counts import WindowCounts
from inference_rollouts.core.limits import FIRST_WORD, SLOW_STORE
from inference_rollouts.core.reporting.approval import question
from inference_rollouts.core.reporting.chart import Point, Points
from inference_rollouts.core.reporting.status import Status, progress_of, status_of
from inference_rollouts.core.routing.control import aborted, is_held, require_resumed, skipped, went_on_at
from inference_rollouts.core.routing.watch import Progress
from inference_rollouts.core.run.doubts import blockers, is_enough, shared_notes, split_of
from inference_rollouts.core.schedule.moves import require_stay
from inference_rollouts.core.serving.capacity import RoomAhead
from inference_rollouts.rollout import reflex
from inference_rollouts.rollout.ahead import Ahead
from inference_rollouts.rollout.capacity import is_shrunk
from inference_rollouts.rollout.counting import FEW, Answer, Counting
from inference_rollouts.rollout.lookout import Lookout
from inference_rollouts.rollout.observation import ClusterObservation
from inference_rollouts.rollout.record_file import RecordFile
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.spare import Spare
from inference_rollouts.rollout.watching import Watcher, holder


@dataclass(frozen=True, slots=True)
class Begun:
    """An observation at `now` (Unix time) that waits `until` (`time.monotonic`) for what was asked.

    `cluster` is None where nobody knows it. `alarmed`: it alone is reason enough, and nothing is waited for.
    """

    now: float
    until: float
    cluster: ClusterObservation | None
    alarmed: bool


class StepObserver:
    """Has the counts of one step; `observe` may be called at any time and catches up with missed ticks.

    What is asked beside is asked in `threads`, of its own where others share none with it, or by a `line`;
    what was missed as far as there is `spare`.
    Who shares a process with many calls `begin`, waits for what is `asked`, then calls `count`, `judge` and
    `conclude`. Of these `begin` and `conclude` alone ask anybody; where they need not, `glance` begins in the
    first's place, and `is_concluded` says so of the second.
    `asks`: a person is asked about the step meanwhile. `known`: up to when (Unix seconds) crashes are
    counted in what is `carried`, where that is not the step's begin.
    """

    def __init__(
        self,
        run: Run,
        context: StepContext,
        carried: Carried,
        threads: Executor | None = None,
        line: Line | None = None,
        spare: Spare | None = None,
        *,
        asks: bool = False,
        known: float | None = None,
    ) -> None:
        plan = run.plan
        self.run = run
        self.context = context
        self.canary, self.stable = run.frozen.arm(plan.canary), run.frozen.arm(plan.stable)
        threads = threads or ThreadPoolExecutor(2, thread_name_prefix="beside")
        self._carried = carried
        self._asking = threads, line, spare
        self._begin_counting()
        self._reconcile = run.kind.reconciler(run)
        self._health = Health()
        self._told_smaller = False
        self._ahead = Ahead(run, context, threads)
        self._lookout = Lookout(run, context, self.sums.crashes, known)
        self._watcher = Watcher(run.cluster, holder("triggerer"))
        self.helm = self._lookout.helm
        self._pace = Pace(plan.analysis.interval)
        self._first_word = FirstWord(min(FIRST_WORD, plan.analysis.progress_deadline))
        self._asks = asks
        self._observed: float | None = None
        self._told: tuple[Judgement, Progress] | None = None

    def _begin_counting(self) -> None:
        """From the begin of the step on, with nothing counted or recorded yet."""
        run, context, plan = self.run, self.context, self.run.plan
        policy, metric_set = plan.analysis, run.frozen.metric_set
        self.sums = begin(policy, metric_set, context, self._carried)
        both = queries(metric_set, self.canary, self.stable)
        self.recorder = DecisionRecorder(policy, metric_set, context, self._carried, both)
        self.record = RecordFile(self.recorder.head, whole=bool(run.frozen.storage_folder))
        self.latest = Latest(metric_set, partial(is_enough, run.frozen, context.share))
        self.points = Points()
        at_home = run.frozen.arm_at_home(plan.canary), run.frozen.arm_at_home(plan.stable)
        self._counters = Counters(metric_set, *at_home, context.anchor)
        self._answer = Answer()
        self._counting = Counting(run, context, *self._asking, self._counters.wanted)

    def next_observation(self, now: float) -> float:
        """When to observe again (Unix time): at the grid's next tick, after one interval at the latest."""
        policy = self.run.plan.analysis
        grid = self._counting.grid
        tick = grid.anchor + self._counting.done * grid.interval + grid.delay
        return min(tick if tick > now else now + policy.interval, now + policy.interval)

    def observe(self, now: float) -> Judgement:
        """Count up to `now` and judge; an observation may lack answers.

        Raises ClaimLost or RouteDrift; WindowClosed when the plan goes back because its window is over,
        HeldTooLong when it was paused for too long.
        """
        begun = self.begin(now)
        for asked in self.asked(begun):
            wait([asked], max(0.0, begun.until - time.monotonic()))
        return self.conclude(begun, self.judge_alone(begun))

    @property
    def catches_up(self) -> bool:
        """Whether more is to be counted than the fewest windows there are, which takes its time."""
        return self._counting.ticks > FEW

    def begin(self, now: float) -> Begun:
        """Look at the cluster, and ask for all else. Raises as `observe`."""
        until, look = self._ask(now), self._lookout
        cluster = look.look(afresh=False)
        require_resumed(self.helm.claims, now)
        if look.heard_late():
            self._begin_counting()
            self._counting.ask(now)
        if look.is_alarm(cluster) and not look.sight.afresh:
            cluster = look.look(afresh=True)
        return Begun(now, until, cluster, look.is_alarm(cluster))

    def glance(self, now: float) -> Begun | None:
        """As `begin`, of a cluster that is as it was; None where that is not known, or alarms."""
        cluster = self._lookout.glance()
        require_resumed(self.helm.claims, now)
        return Begun(now, self._ask(now), cluster, alarmed=False) if cluster else None

    def _ask(self, now: float) -> float:
        """Ask the store; the time (`time.monotonic`) until which its answer is waited for."""
        require_stay(self.run.frozen.calendar, now)
        self._pace.observed(now)
        self._counting.ask(now)
        return time.monotonic() + max(self.run.plan.analysis.interval, SLOW_STORE)

    def asked(self, begun: Begun) -> Iterator[Future[Any]]:
        """What is to be waited for, one after the other: the counts, and then whether there is room."""
        if not begun.alarmed and (counts := self._counting.asked):
            yield counts
        if not begun.cluster or begun.alarmed or not self._counting.answers:
            return
        if room := self._ahead.ask(begun.cluster.health, begun.now):
            yield room

    def count(self, begun: Begun) -> WindowCounts | None:
        """What the store has answered, counted. The newest window is left to be absorbed."""
        self._answer = Answer() if begun.alarmed else self._counting.answer(begun.until)
        newest: WindowCounts | None = None
        for seen in self._answer.snapshots:
            counted = self._counters.observe(seen, self._lookout.exporters or None)
            if counted is None:
                continue
            if newest is not None:
                self.sums = absorb(self.sums, newest)
            newest = counted
            self.recorder.window(counted)
            self.latest.add(counted)
        self._answer = replace(self._answer, snapshots=())
        return newest

    def judge_alone(self, begun: Begun) -> Judgement:
        """Count, absorb and judge."""
        if (counted := self.count(begun)) is not None:
            self.sums = absorb(self.sums, counted)
        return self.judge(begun)

    def judge(self, begun: Begun, found: Evidence | None = None) -> Judgement:
        """By what is known now, of which the evidence may be `found`; what is final only `conclude` says."""
        judgement = self._judged(begun, begun.cluster, found)
        if not self.helm.commanded(judgement).verdict.final:
            self._note(judgement)
        return judgement

    def is_concluded(self, begun: Begun, judgement: Judgement) -> bool:
        """Whether a judgement is the outcome: to conclude asks nobody, and tells nobody."""
        if begun.cluster is None or self.helm.commanded(judgement).verdict.final:
            return False
        progress = self._progress(judgement)
        due = self._watcher.is_due(begun.cluster.moved, self.run.frozen.token, progress)
        return not due and not self._is_news(begun.cluster)

    def conclude(self, begun: Begun, judgement: Judgement) -> Judgement:
        """The observation's outcome, where it was judged so. Raises as `observe`.

        What is final rests on a cluster that was read for it, not on what was seen some time ago.
        """
        cluster = begun.cluster
        if self.helm.commanded(judgement).verdict.final:
            if not self._lookout.sight.afresh:
                cluster = self._lookout.look(afresh=True)
                judgement = self._judged(begun, cluster)
            self._note(judgement, last=True)
        if cluster:
            if self._is_news(cluster):
                self._told_smaller = True
                reflex.tell_smaller(self.run, cluster)
            progress = self._progress(judgement)
            self._watcher.renew(cluster.moved, self.run.frozen.token, progress, self._lookout.memory)
        return self.helm.commanded(judgement)

    def _note(self, judgement: Judgement, *, last: bool = False) -> None:
        """For the record, and the chart."""
        if line := self.recorder.observation(self._health, judgement, last=last):
            self.record.add(line)
        self.points.add(Point.of(judgement))

    def _judged(
        self, begun: Begun, cluster: ClusterObservation | None, found: Evidence | None = None
    ) -> Judgement:
        answer, ahead, counting = self._answer, RoomAhead(), self._counting
        new = self._first_word.is_awaited(begun.now, cluster=cluster is not None, store=counting.heard)
        if cluster is not None and answer.answers and not begun.alarmed:  # else nobody has waited for it
            ahead = self._ahead.answer(begun.until)
        self._health = (cluster.health if cluster else Health()).model_copy(
            update={
                "prometheus_ok": answer.answers,
                "blockers": (*self._blockers(cluster), *ahead.blockers),
                "notes": (*self._notes(cluster), *ahead.notes),
                "storm": answer.storm,
                "restarts": self._lookout.sight.crashes.count,
                "age": self._lookout.sight.age,
                "held": new or is_held(self.helm.claims),
                "resumed": went_on_at(self.helm.claims),
                "bake_skipped": skipped(self.helm.claims) is not None,
            }
        )
        return conclude(self.sums, self._health, begun.now, found)

    def handing_on(self, judgement: Judgement) -> Judgement:
        """The judgement, with what whoever observes from there on needs to know."""
        return handing_on(judgement, self.sums, self._health)

    def status(self, judgement: Judgement, doing: str = "") -> Status | None:
        """Where the rollout is with this judgement; None before its claims were seen."""
        if not self.helm.claims:
            return None
        return status_of(self.helm.claims, self._progress(judgement), self._watcher.holder, doing)

    def _progress(self, judgement: Judgement) -> Progress:
        if self._told is None or self._told[0] is not judgement:
            progress = progress_of(self.run.plan, judgement, self._observed, asks=self._asks)
            self._told = judgement, progress
        return self._told[1]

    def finish(self, judgement: Judgement, name: str) -> dict[str, Any]:
        """Act on a final judgement, store the record as `name`, and return all of it.

        An alarm takes the traffic away; a step that passed permits the next raise, unless a person is asked.
        """
        command = self.helm.command(judgement)
        if judgement.verdict is Verdict.ROLLBACK:
            hold = aborted(self.helm.claims) is not None
            reflex.retreat(self.run, self.context.weight, judgement, self._health, aborted=hold)
        if judgement.verdict is Verdict.ADVANCE and (command or question(self.run.plan, judgement) is None):
            reflex.permit(self.run, judgement)
        if folder := self.run.frozen.storage_folder:
            self.record.store(self.run.clients.storage, folder, name)
        points = [astuple(point) for point in self.points]
        return {
            "judgement": self.handing_on(judgement).to_json(),
            "record": self.record.newest.lines,
            "points": points,
            "by": command.who if command else "",
        }

    def _is_news(self, cluster: ClusterObservation) -> bool:
        """Whether stable became smaller, and nobody was told yet."""
        told = self._told_smaller or cluster.health.shared
        return not told and is_shrunk(self.run.frozen, cluster.health)

    def _blockers(self, cluster: ClusterObservation | None) -> list[str]:
        """Why the step may not pass: gateway, traffic or picker do not follow, or a pod lacks the adapter."""
        frozen, windows = self.run.frozen, self.latest.windows
        split = split_of(frozen, self.context.share, windows)
        self._observed = split.observed
        here = [*cluster.blockers, *self._reconcile(cluster.servers)] if cluster else []
        return [*here, *blockers(frozen, split, windows)]

    def _notes(self, cluster: ClusterObservation | None) -> list[str]:
        """What makes the comparison doubtful."""
        silent = self._counters.silent(cluster.serving) if cluster else ()
        pace, counting = self._pace.notes, self._counting.notes
        return [*shared_notes(self.run.frozen), *pace, *counting, *self._counters.notes, *silent]
