"""One step under observation: at the ticks of its time grid, one judgement an observation."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

from inference_rollouts.clients.line import Line
from inference_rollouts.core.errors import ClaimLost, RouteDrift
from inference_rollouts.core.judging.counters import Counters, Exporter
from inference_rollouts.core.judging.counts import WindowCounts
from inference_rollouts.core.judging.decision_record import DecisionRecorder
from inference_rollouts.core.judging.guardrails import guardrails
from inference_rollouts.core.judging.judge import (
    Carried,
    Health,
    Judgement,
    StepContext,
    Verdict,
    absorb,
    begin,
    conclude,
    handing_on,
)
from inference_rollouts.core.judging.own_picker import served_and_picked, unasked_picker
from inference_rollouts.core.judging.pace import Pace
from inference_rollouts.core.judging.queries import queries
from inference_rollouts.core.judging.split import Latest, enough_for, observed_split
from inference_rollouts.core.limits import REFLEX_DEADLINE, SLOW_STORE, WRITE_DEADLINE
from inference_rollouts.core.objects.crashes import Crashes
from inference_rollouts.core.objects.gateways import hints
from inference_rollouts.core.reporting.approval import question
from inference_rollouts.core.reporting.chart import Point, Points
from inference_rollouts.core.reporting.status import Status, progress_of, status_of
from inference_rollouts.core.routing.claim import read_claim
from inference_rollouts.core.routing.control import aborted, is_held, skipped, went_on_at
from inference_rollouts.core.routing.watch import Progress
from inference_rollouts.core.schedule.moves import require_stay
from inference_rollouts.core.serving.capacity import RoomAhead
from inference_rollouts.rollout.beside import Beside
from inference_rollouts.rollout.counting import Answer, Counting
from inference_rollouts.rollout.floors import lowered_floors
from inference_rollouts.rollout.helm import Helm
from inference_rollouts.rollout.observation import ClusterObservation
from inference_rollouts.rollout.record_file import RecordFile
from inference_rollouts.rollout.retrying import until
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.sight import Sight
from inference_rollouts.rollout.watching import Watcher, holder

log = logging.getLogger(__name__)


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

    What is asked beside is asked in `threads`, of its own where others share none with it, or by a `line`.
    Who shares a process with many calls `begin`, waits for what is `asked`, then calls `count`, `judge` and
    `conclude`. Of these `begin` and `conclude` alone ask anybody; where they need not, `glance` begins in the
    first's place, and `is_concluded` says so of the second.
    `asks`: a person is asked about the step meanwhile.
    """

    def __init__(
        self,
        run: Run,
        context: StepContext,
        carried: Carried,
        threads: Executor | None = None,
        line: Line | None = None,
        *,
        asks: bool = False,
    ) -> None:
        plan, metric_set = run.plan, run.frozen.metric_set
        self.run = run
        self.context = context
        self.canary, self.stable = plan.arm(plan.canary), plan.arm(plan.stable)
        self.sums = begin(plan.analysis, metric_set, context, carried)
        both = queries(metric_set, self.canary, self.stable)
        self.recorder = DecisionRecorder(plan.analysis, metric_set, context, carried, both)
        self.record = RecordFile(self.recorder.head, whole=bool(run.frozen.storage_folder))
        self.latest = Latest(metric_set, self._is_enough)
        self.points = Points()
        self._reconcile = run.kind.reconciler(run)
        self._exporters: frozenset[Exporter] = frozenset()  # also those that have gone since
        self._counters = Counters(metric_set, self.canary, self.stable, context.anchor)
        self._health = Health()
        self._answer = Answer()
        self._crashes = Crashes(context.started_at)
        self._told_smaller = False
        threads = threads or ThreadPoolExecutor(2, thread_name_prefix="beside")
        self._counting = Counting(run, context, threads, line)
        self._room = Beside(RoomAhead(), threads)
        self._sight = Sight(run.clients, run.frozen, context.started_at)
        self._watcher = Watcher(run.cluster, holder("triggerer"))
        self.helm = Helm(run.cluster, run.frozen)
        self._pace = Pace(run.plan.analysis.interval)
        self._asks = asks
        self._observed: float | None = None
        self._told: tuple[Judgement, Progress] | None = None

    def next_observation(self, now: float) -> float:
        """When to observe again (Unix time): at the grid's next tick, after one interval at the latest."""
        policy = self.run.plan.analysis
        grid = self._counting.grid
        tick = grid.anchor + self._counting.done * grid.interval + grid.delay
        return min(tick if tick > now else now + policy.interval, now + policy.interval)

    def observe(self, now: float) -> Judgement:
        """Count up to `now` and judge; an observation may lack answers.

        Raises ClaimLost or RouteDrift; WindowClosed when the plan goes back because its window is over.
        """
        begun = self.begin(now)
        for asked in self.asked(begun):
            wait([asked], max(0.0, begun.until - time.monotonic()))
        return self.conclude(begun, self.judge_alone(begun))

    @property
    def catches_up(self) -> bool:
        """Whether more is to be counted than one window, which takes its time."""
        return self._counting.ticks > 1

    def begin(self, now: float) -> Begun:
        """Look at the cluster, and ask for all else. Raises as `observe`."""
        until = self._ask(now)
        cluster = self._observe_cluster(afresh=False)
        alarmed = cluster is not None and self._is_alarm(cluster.health)
        if alarmed and not self._sight.afresh:
            cluster = self._observe_cluster(afresh=True)
            alarmed = cluster is not None and self._is_alarm(cluster.health)
        return Begun(now, until, cluster, alarmed)

    def glance(self, now: float) -> Begun | None:
        """As `begin`, of a cluster that is as it was; None where that is not known, or alarms."""
        cluster = self._sight.glance()
        if cluster is None or not self.helm.is_calm(cluster.moved) or self._is_alarm(cluster.health):
            return None
        return Begun(now, self._ask(now), cluster, alarmed=False)

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
        if begun.cluster and not begun.alarmed and self._counting.answers:
            health = begun.cluster.health
            if self.run.kind.asks_for_room(self.run, self.context, health, begun.now):
                self._room.ask(partial(self._room_ahead, health))
            else:
                self._room.last = RoomAhead()
            if room := self._room.asked:
                yield room

    def count(self, begun: Begun) -> WindowCounts | None:
        """What the store has answered, counted. The newest window is left to be absorbed."""
        self._answer = Answer() if begun.alarmed else self._counting.answer(begun.until)
        newest: WindowCounts | None = None
        for seen in self._answer.snapshots:
            counted = self._counters.observe(seen, self._exporters or None)
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

    def judge(self, begun: Begun) -> Judgement:
        """By what is known now; what is final only `conclude` says."""
        judgement = self._judged(begun, begun.cluster)
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
            if not self._sight.afresh:
                cluster = self._observe_cluster(afresh=True)
                judgement = self._judged(begun, cluster)
            self._note(judgement)
        if cluster:
            if self._is_news(cluster):
                self._tell_smaller(cluster)
            progress = self._progress(judgement)
            self._watcher.renew(cluster.moved, self.run.frozen.token, progress)
        return self.helm.commanded(judgement)

    def _note(self, judgement: Judgement) -> None:
        """For the record, and the chart."""
        if line := self.recorder.observation(self._health, judgement):
            self.record.add(line)
        self.points.add(_point(judgement))

    def _judged(self, begun: Begun, cluster: ClusterObservation | None) -> Judgement:
        answer, ahead = self._answer, RoomAhead()
        if cluster is not None and answer.answers and not begun.alarmed:  # else nobody has waited for it
            ahead = self._room.answer(begun.until) or self._room.last
        self._health = (cluster.health if cluster else Health()).model_copy(
            update={
                "prometheus_ok": answer.answers,
                "blockers": (*self._blockers(cluster), *ahead.blockers),
                "notes": (*self._notes(cluster), *ahead.notes),
                "storm": answer.storm,
                "restarts": self._crashes.count,
                "age": self._sight.age,
                "held": is_held(self.helm.claims),
                "resumed": went_on_at(self.helm.claims),
                "bake_skipped": skipped(self.helm.claims) is not None,
            }
        )
        return conclude(self.sums, self._health, begun.now)

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
            self._retreat(judgement)
        if judgement.verdict is Verdict.ADVANCE and (command or question(self.run.plan, judgement) is None):
            self._permit(judgement)
        if folder := self.run.frozen.storage_folder:
            self.record.store(self.run.clients.storage, folder, name)
        points = [astuple(point) for point in self.points]
        return {
            "judgement": self.handing_on(judgement).to_json(),
            "record": self.record.newest.lines,
            "points": points,
            "by": command.who if command else "",
        }

    def _retreat(self, judgement: Judgement) -> None:
        """The reflex. When it fails, the rollback task still comes."""

        def retreat() -> None:
            way_back = self.run.traffic.way_back
            if aborted(self.helm.claims):
                way_back.hold(self._kept(), judgement.reason)
            else:
                way_back.retreat(judgement.reason, self._kept())

        try:
            until(time.time() + REFLEX_DEADLINE)(retreat)
        except Exception as error:
            log.warning("could not take the traffic away at once, the rollback task will: %s", error)

    def _kept(self) -> int:
        """What stable cannot take of it (in %); asked only where stable was seen smaller than before."""
        ready, percent = self._health.ready_stable, self.context.weight
        whole = ready is None or ready >= self.run.frozen.stable_pods
        if whole or self._health.shared or not percent:
            return 0
        return self.run.kind.kept_share(self.run, percent, patient=True)

    def _permit(self, judgement: Judgement) -> None:
        permit = self.run.traffic.permit
        until(time.time() + WRITE_DEADLINE)(permit, judgement.step, judgement.time)

    def _is_news(self, cluster: ClusterObservation) -> bool:
        """Whether stable became smaller, and nobody was told yet."""
        ready, before = cluster.health.ready_stable, self.run.frozen.stable_pods
        return not (self._told_smaller or ready is None or ready >= before or cluster.health.shared)

    def _tell_smaller(self, cluster: ClusterObservation) -> None:
        """Tell that stable became smaller, and of an autoscaler that somebody lets do that."""
        ready, before = cluster.health.ready_stable, self.run.frozen.stable_pods
        self._told_smaller = True
        floors = [floor for each in cluster.moved if (claim := read_claim(each)) for floor in claim.floors]
        why = "; ".join(lowered_floors(self.run.cluster, dict.fromkeys(floors)))
        text = f"{self.run.plan.stable} has {ready} ready pods of the {before} before{why and f': {why}'}"
        log.warning("%s", text)
        self.run.cluster.event(cluster.moved[0], "StableShrunk", text, warning=True)

    def _is_alarm(self, health: Health) -> bool:
        seen = health.model_copy(update={"restarts": self._crashes.count})
        limits = self.run.plan.analysis.guardrails
        return next(guardrails(limits, seen, self.sums.crashes), None) is not None

    def _observe_cluster(self, *, afresh: bool) -> ClusterObservation | None:
        """Route and pools; None when the cluster does not answer, or says once what may pass."""
        try:
            seen = self._sight.observe(afresh=afresh)
        except (ClaimLost, RouteDrift):
            raise
        except Exception as error:
            log.warning("nothing is known of the cluster: %s", error)
            return None
        self._exporters |= seen.exporters
        self._crashes = self._crashes.observed(seen.all_canary_pods)
        self.helm.look(seen.moved)
        return seen

    def _blockers(self, cluster: ClusterObservation | None) -> list[str]:
        """Why the step may not pass: gateway, traffic or picker do not follow, or a pod lacks the adapter."""
        frozen = self.run.frozen
        sent, least = frozen.metric_set.sent, frozen.plan.analysis.min_requests
        windows = self.latest.windows
        split = observed_split(windows, sent, self.context.share, least, shared=bool(frozen.shared))
        self._observed = split.observed
        blockers = [*cluster.blockers, *self._reconcile(cluster.canary_pods)] if cluster else []
        if windows and not split.matches:
            blockers.append(f"The weights are not in force: {split}. {hints(frozen.parents)}".rstrip())
        if unasked := unasked_picker(frozen.metric_set, windows, least):
            blockers.append(f"{unasked} {hints(frozen.parents)}".rstrip())
        return blockers

    def _is_enough(self, requests: Mapping[str, tuple[int, int]]) -> bool:
        """Whether windows with so many requests of canary and stable are all that blockers look back at."""
        metric_set, least = self.run.frozen.metric_set, self.run.plan.analysis.min_requests
        if self.run.frozen.shared or sum(requests[metric_set.sent]) < enough_for(self.context.share, least):
            return False
        both = served_and_picked(metric_set)
        return both is None or requests[both[0]][0] >= least

    def _notes(self, cluster: ClusterObservation | None) -> list[str]:
        """What makes the comparison doubtful."""
        silent = self._counters.silent(cluster.serving) if cluster else ()
        pace, counting = self._pace.notes, self._counting.notes
        return [*_shared_notes(self.run), *pace, *counting, *self._counters.notes, *silent]

    def _room_ahead(self, health: Health) -> RoomAhead:
        """Whether the pools have room for what comes after this step; nothing when nobody knows."""
        try:
            return self.run.kind.room_ahead(self.run, self.context, health)
        except Exception as error:
            log.warning("nobody knows whether there is room for the next raise: %s", error)
            return RoomAhead()


def _shared_notes(run: Run) -> list[str]:
    """What other services on the stable pool mean for the comparison."""
    others = ", ".join(run.frozen.shared)
    return [f"{run.plan.stable} serves {others} too, and their requests are compared with."] if others else []


def _point(judgement: Judgement) -> Point:
    canary, stable = judgement.recent_canary, judgement.recent_stable
    return Point(
        judgement.time,
        judgement.weight,
        judgement.evidence,
        canary.latency_p95 if canary else None,
        stable.latency_p95 if stable else None,
    )
