"""The four verbs that move a route: attach, shift, promote, restore. Each may be repeated at any time.

Each reads the route, decides purely (`core.route`), and writes one guarded patch. A patch that lost a race
against a harmless write is decided anew; against somebody else's weights it ends in RouteDrift.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from inference_rollouts.core import route as routes
from inference_rollouts.core.errors import HoldLost, RolloutError, RouteDrift
from inference_rollouts.core.plan import Plan
from inference_rollouts.core.route import Patch, Record
from inference_rollouts.hooks.cluster import ClusterHook, Object, PatchRefused

GATEWAY_API = "gateway.networking.k8s.io/v1"
POOL_API = "inference.networking.k8s.io/v1"
ATTEMPTS = 5  # status updates of a gateway race with us; five lost races in a row are no coincidence


class Restored(StrEnum):
    """What a restore found and did."""

    NOTHING = "nothing"
    DONE = "done"
    BY_OTHERS = "by others"


class Traffic:
    """One run's hold on one route."""

    def __init__(self, cluster: ClusterHook, plan: Plan, run: str) -> None:
        self.cluster = cluster
        self.plan = plan
        self.run = run

    def read(self) -> Object:
        """The route as it is now; raises NotFound."""
        return self.cluster.get(GATEWAY_API, "HTTPRoute", self.plan.route.name)

    def attach(self) -> Object:
        """Hold the route, record its weights, add the canary at weight 0."""

        def decide(route: Object) -> Patch:
            if (held := routes.read_record(route)) is not None:
                if held.run == self.run:
                    return []
                raise HoldLost(
                    f"HTTPRoute {self.plan.route.name} is held by {held.run}; nothing was written to it. "
                    "Wait for that rollout to end."
                )
            return routes.attach_patch(route, self._new_record(route))

        route, wrote = self._write(decide)
        if wrote:
            found = routes.describe(self._held(route).found)
            self._tell(
                route, "CanaryAttached", f"{self.plan.canary} attached at weight 0; weights as found: {found}"
            )
        return route

    def shift(self, percent: int, step: int, now: float) -> Record:
        """Give the canary `percent` % of the rule's requests. Returns the record, whose `since` is when."""

        def decide(route: Object) -> Patch:
            record = self._held(route)
            if record.percent == 0 and record.step >= step:
                raise RolloutError(
                    f"Step {record.step} raised an alarm and {self.plan.canary} was taken off; "
                    "its weight stays 0. Let the rollback end, then start a new run."
                )
            return [] if record.percent == percent else routes.shift_patch(route, record, percent, step, now)

        route, wrote = self._write(decide)
        record = self._held(route)
        if wrote:
            weights = routes.describe(routes.expected_refs(record))
            self._tell(route, "WeightShifted", f"step {step}: weights are {weights}")
        return record

    def retreat(self, why: str) -> None:
        """Take all traffic off the canary at once, keeping the hold: the rollback completes the story."""

        def decide(route: Object) -> Patch:
            record = self._held(route)
            return (
                [] if record.percent == 0 else routes.shift_patch(route, record, 0, record.step, record.since)
            )

        route, wrote = self._write(decide)
        if wrote:
            self._tell(route, "CanaryAlarm", f"all traffic taken off {self.plan.canary}: {why}", warning=True)

    def promote(self) -> Object:
        """Let the route go at 100 % on the canary."""

        def decide(route: Object) -> Patch:
            if routes.read_record(route) is None:
                return []
            record = self._held(route)
            if record.percent != 100:
                raise RolloutError(
                    f"{self.plan.canary} has {record.percent} % of the traffic, not 100 %: not promoted."
                )
            return routes.promote_patch(route, record)

        route, wrote = self._write(decide)
        if wrote:
            self._tell(
                route,
                "Promoted",
                f"{self.plan.canary} takes 100 %; {self.plan.stable} is kept for a rollback",
            )
        return route

    def restore(self, why: str) -> Restored:
        """Put the weights back exactly as found. Raises RouteDrift when others changed them meanwhile."""
        done = Restored.NOTHING

        def decide(route: Object) -> Patch:
            nonlocal done
            record = routes.read_record(route)
            if record is None or record.run != self.run:
                return []
            try:
                record, done = self._held(route), Restored.DONE
                return routes.restore_patch(route, record)
            except RouteDrift:
                if not routes.is_restored(route, record):
                    raise
                done = Restored.BY_OTHERS
                return routes.release_patch(route)

        route, wrote = self._write(decide)
        if wrote:
            self._tell(route, "RolledBack", f"weights restored as found: {why}", warning=True)
        return done

    def _write(self, decide: Callable[[Object], Patch]) -> tuple[Object, bool]:
        """Read, decide, patch; on a lost race again. Returns the route and whether it was written."""
        for attempt in range(1, ATTEMPTS + 1):
            route = self.read()
            if not (patch := decide(route)):
                return route, False
            try:
                return self.cluster.patch(GATEWAY_API, "HTTPRoute", self.plan.route.name, patch), True
            except PatchRefused:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _new_record(self, route: Object) -> Record:
        rule = routes.select_rule(route, self.plan.stable, self.plan.route.rule)
        routes.check_rule(route, rule, self.plan.stable, self.plan.canary)
        found: tuple[dict[str, Any], ...] = tuple(route["spec"]["rules"][rule]["backendRefs"])
        return Record(self.run, rule, self.plan.stable, self.plan.canary, found)

    def _held(self, route: Object) -> Record:
        return routes.held_record(route, self.run)

    def _tell(self, route: Object, reason: str, message: str, *, warning: bool = False) -> None:
        self.cluster.event(route, reason, f"{message} ({self.run})", warning=warning)
