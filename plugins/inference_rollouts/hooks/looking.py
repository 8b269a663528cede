"""One step under observation: looks at the edges of its time grid, one judgement a look."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from inference_rollouts.core.counts import Snapshot, WindowCounts, edges, window
from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.frozen import Frozen
from inference_rollouts.core.judge import Carried, Health, Judgement, Verdict, absorb, begin, conclude
from inference_rollouts.core.split import Split, observed_split
from inference_rollouts.hooks.cluster import ClusterHook
from inference_rollouts.hooks.observation import Sight, sight, snapshot
from inference_rollouts.hooks.prometheus import PrometheusHook, PrometheusUnavailable
from inference_rollouts.hooks.traffic import Traffic

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw and concluded."""

    judgement: Judgement
    split: Split

    def __str__(self) -> str:
        said = self.judgement
        warnings = "".join(f" Warning: {warning}" for warning in said.warnings)
        return f"step {said.step} at {said.weight} %: {said.verdict.value}: {said.reason}{warnings}"


class Looker:
    """Holds the counts of one step; `look` may be called at any time and catches up with missed edges."""

    def __init__(self, frozen: Frozen, step: int, since: float, carried: Carried) -> None:
        plan = frozen.plan
        self.frozen = frozen
        self.context = plan.step_context(step, since)
        self.cluster = ClusterHook(plan.connections.kubernetes, plan.namespace)
        self.prometheus = PrometheusHook(plan.connections.prometheus)
        self.traffic = Traffic(self.cluster, plan, frozen.run)
        self.tally = begin(plan.analysis, frozen.metric_set, self.context, carried)
        self.windows: list[WindowCounts] = []
        self.last: Snapshot | None = None
        self.seen = 0  # edges of the grid that were looked at

    def next_look(self, now: float) -> float:
        """When to look again (Unix time): at the grid's next edge, after one look's time at the latest."""
        policy = self.frozen.plan.analysis
        edge = self.context.anchor + self.seen * policy.look + policy.lag
        return min(edge if edge > now else now + policy.look, now + policy.look)

    def look(self, now: float) -> Look:
        """Count up to `now` and judge. Raises HoldLost or RouteDrift; missing answers are part of a look."""
        answers = self._count(now)
        seen = self._see()
        health = seen.health if seen else Health()
        judgement = conclude(self.tally, health.model_copy(update={"prometheus_ok": answers}), now)
        split = self._split()
        return Look(self._follow(judgement, seen, split, now), split)

    def _count(self, now: float) -> bool:
        """Absorb the windows of all edges that have passed; False when Prometheus did not answer."""
        plan, metrics = self.frozen.plan, self.frozen.metric_set
        canary, stable = plan.arm(plan.canary), plan.arm(plan.stable)
        passed = edges(self.context.anchor, plan.analysis.look, now, plan.analysis.lag)
        for edge in passed[self.seen :]:
            try:
                after = snapshot(self.prometheus, self.frozen, edge)
            except PrometheusUnavailable as error:
                log.warning("%s", error)
                return False
            self.seen += 1
            counted = window(metrics, canary, stable, self.last, after) if self.last else None
            if counted is not None:
                self.tally = absorb(self.tally, counted)
                self.windows.append(counted)
            if counted is not None or self.last is None:
                self.last = after
        return True

    def _see(self) -> Sight | None:
        """Route and pools; None when the cluster does not answer."""
        try:
            return sight(self.cluster, self.frozen)
        except RolloutError:
            raise
        except Exception as error:
            log.warning("the cluster does not answer: %s", error)
            return None

    def _split(self) -> Split:
        policy = self.frozen.plan.analysis
        errors = self.frozen.metric_set.errors
        return observed_split(self.windows, errors, self.context.weight, policy.min_requests)

    def _follow(self, judgement: Judgement, seen: Sight | None, split: Split, now: float) -> Judgement:
        """A step passes only while the gateway has accepted its weights and the traffic follows them."""
        if judgement.verdict is not Verdict.ADVANCE or (seen and seen.route_follows and split.matches):
            return judgement
        if seen is None:
            why = "The cluster does not answer."
        else:
            why = (
                f"{seen.route_message}."
                if not seen.route_follows
                else f"The weights are not in force: {split}."
            )
        late = now > self.context.baked_at + self.frozen.plan.deadlines.route
        verdict = Verdict.ROLLBACK if late else Verdict.HOLD
        return judgement.model_copy(update={"verdict": verdict, "reason": why, "blame": None})
