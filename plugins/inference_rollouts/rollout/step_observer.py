"""One step under observation: looks at the edges of its time grid, one judgement a look."""

from __future__ import annotations

import logging
from dataclasses import astuple
from typing import Any

from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.clients.prometheus import PrometheusHook, PrometheusUnavailable
from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.judging.counts import Snapshot, WindowCounts, edges, window
from inference_rollouts.core.judging.decision_record import Recorder, bounded
from inference_rollouts.core.judging.judge import (
    Carried,
    Health,
    Judgement,
    StepContext,
    Verdict,
    absorb,
    begin,
    conclude,
)
from inference_rollouts.core.judging.metrics import queries
from inference_rollouts.core.judging.split import observed_split
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.reporting.chart import Point
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.storage import store
from inference_rollouts.rollout.adapters import Keeper
from inference_rollouts.rollout.capacity import RoomAhead, room_ahead, shared_note
from inference_rollouts.rollout.observation import Sight, sight, snapshot
from inference_rollouts.rollout.traffic import Traffic

log = logging.getLogger(__name__)


class Looker:
    """Holds the counts of one step; `look` may be called at any time and catches up with missed edges."""

    def __init__(self, frozen: Frozen, context: StepContext, carried: Carried) -> None:
        plan = frozen.plan
        self.frozen = frozen
        self.context = context
        self.canary, self.stable = plan.arm(plan.canary), plan.arm(plan.stable)
        self.cluster = ClusterHook(plan.connections.kubernetes, plan.namespace)
        self.prometheus = PrometheusHook(plan.connections.prometheus)
        self.traffic = Traffic(self.cluster, plan, frozen.run, frozen.targets)
        self.keeper = Keeper(plan, self.cluster) if isinstance(plan, AdapterPlan) else None
        self.tally = begin(plan.analysis, frozen.metric_set, self.context, carried)
        asked = queries(frozen.metric_set, self.canary, self.stable)
        self.recorder = Recorder(plan.analysis, frozen.metric_set, self.context, carried, asked)
        self.windows: list[WindowCounts] = []
        self.points: list[Point] = []
        self.last: Snapshot | None = None
        self.seen = 0  # edges of the grid that were looked at

    def next_look(self, now: float) -> float:
        """When to look again (Unix time): at the grid's next edge, after one look's time at the latest."""
        policy = self.frozen.plan.analysis
        edge = self.context.anchor + self.seen * policy.look + policy.lag
        return min(edge if edge > now else now + policy.look, now + policy.look)

    def look(self, now: float) -> Judgement:
        """Count up to `now` and judge. Raises HoldLost or RouteDrift; missing answers are part of a look."""
        answers = self._count(now)
        seen = self._see()
        holds, notes = self._holds(seen), shared_note(self.frozen)
        if seen and answers:
            room = self._room(seen.health, now)
            holds, notes = [*holds, *room.holds], [*notes, *room.notes]
        health = (seen.health if seen else Health()).model_copy(
            update={"prometheus_ok": answers, "holds": tuple(holds), "notes": tuple(notes)}
        )
        judgement = conclude(self.tally, health, now)
        self.recorder.look(health, judgement)
        self.points.append(_point(judgement))
        return judgement

    def finish(self, judgement: Judgement, name: str) -> dict[str, Any]:
        """Take the traffic away if the judgement is an alarm; store the record as `name`; tell all of it."""
        if judgement.verdict is Verdict.ROLLBACK:
            self._retreat(judgement)
        lines = self.recorder.lines
        store(self.frozen, name, "".join(f"{line}\n" for line in lines))
        points = [astuple(point) for point in self.points]
        return {"judgement": judgement.to_json(), "record": bounded(lines), "points": points}

    def _retreat(self, judgement: Judgement) -> None:
        """The reflex. When it fails, the rollback task still comes."""
        try:
            self.traffic.retreat(judgement.reason)
        except Exception as error:
            log.warning("could not take the traffic away at once, the rollback task will: %s", error)

    def _count(self, now: float) -> bool:
        """Absorb the windows of all edges that have passed; False when Prometheus did not answer."""
        policy = self.frozen.plan.analysis
        for edge in edges(self.context.anchor, policy.look, now, policy.lag)[self.seen :]:
            try:
                self._absorb(snapshot(self.prometheus, self.frozen, edge))
            except PrometheusUnavailable as error:
                log.warning("%s", error)
                return False
            self.seen += 1
        return True

    def _absorb(self, after: Snapshot) -> None:
        """Fold in what was counted since the last good snapshot."""
        if self.last is None:
            self.last = after
            return
        counted = window(self.frozen.metric_set, self.canary, self.stable, self.last, after)
        if counted is not None:
            self.tally = absorb(self.tally, counted)
            self.recorder.window(counted)
            self.windows.append(counted)
            self.last = after

    def _see(self) -> Sight | None:
        """Route and pools; None when the cluster does not answer."""
        try:
            return sight(self.cluster, self.frozen, self.context.started_at)
        except RolloutError:
            raise
        except Exception as error:
            log.warning("the cluster does not answer: %s", error)
            return None

    def _holds(self, seen: Sight | None) -> list[str]:
        """Why the step may not pass: gateway or traffic do not follow, or a pod lacks the adapter."""
        errors, enough = self.frozen.metric_set.errors, self.frozen.plan.analysis.min_requests
        shared = bool(self.frozen.shared)
        split = observed_split(self.windows, errors, self.context.share, enough, shared=shared)
        holds = [] if seen is None else [*seen.holds]
        if self.keeper and seen:
            holds += self.keeper.look(seen.canary)
        if self.windows and not split.matches:
            holds.append(f"The weights are not in force: {split}.")
        return holds

    def _room(self, health: Health, now: float) -> RoomAhead:
        """Whether the pools have room for what comes after this step; nothing when that cannot be told."""
        try:
            return room_ahead(self.cluster, self.prometheus, self.frozen, self.context, health, now)
        except RolloutError:
            raise
        except Exception as error:
            log.warning("nobody knows whether there is room for the next raise: %s", error)
            return RoomAhead()


def _point(said: Judgement) -> Point:
    canary, stable = said.recent_canary, said.recent_stable
    return Point(
        said.time,
        said.weight,
        said.evidence,
        canary.latency_p95 if canary else None,
        stable.latency_p95 if stable else None,
    )
