"""The verbs that move traffic: attach, shift, retreat, promote, restore. Each may be repeated at any time.

A rollout may move several objects (routes). A verb writes them in order, one guarded patch each: it reads
the object, decides purely (`core.hold`, `core.patches`), and patches. A patch that lost a race against a
harmless write is decided anew; against somebody else's weights it ends in RouteDrift. When a later object
refuses a raise, those before it are put back, so that all move or none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from inference_rollouts.clients.kubernetes import ClusterHook, Object, PatchRefused
from inference_rollouts.core.errors import HoldLost, RolloutError, RouteDrift
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.routing import claim as hold
from inference_rollouts.core.routing import patches
from inference_rollouts.core.routing.claim import Record
from inference_rollouts.core.routing.patches import Patch
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.targets import select_places

ATTEMPTS = 5  # status updates of a gateway race with us; five lost races in a row are no coincidence

log = logging.getLogger(__name__)

T = TypeVar("T")
Decide = Callable[[Object], Patch]


class Restored(StrEnum):
    """What a restore found and did; of several objects the last of these counts."""

    NOTHING = "nothing"
    BY_OTHERS = "by others"
    DONE = "done"
    COMMITTED = "promoted"


class Traffic:
    """One run's hold on the objects it moves."""

    def __init__(self, cluster: ClusterHook, plan: Plan, run: str, targets: Sequence[Target]) -> None:
        self.cluster = cluster
        self.plan = plan
        self.run = run
        self.targets = tuple(targets)

    def read(self) -> list[Object]:
        """The objects as they are now; raises NotFound."""
        return [self._read(target) for target in self.targets]

    def records(self) -> list[Record]:
        """The records of the objects that this run holds now."""
        found = (hold.read_record(thing) for thing in self.read())
        return [record for record in found if record is not None and record.run == self.run]

    def attach(self) -> None:
        """Hold every object, record its weights, add the canary at weight 0."""
        held: list[Target] = []
        try:
            for target in self.targets:
                if self._attach(target):
                    held.append(target)  # noqa: PERF401  (what was held must be known when a later one fails)
        except Exception:
            self._undo(held, lambda target: self._restore(target, "another object could not be held"))
            raise

    def shift(self, percent: int, step: int, now: float, mirror: int = 0) -> float:
        """Give the canary `percent` % of what stable had. Returns since when it has that (Unix time)."""
        before: dict[Target, Record] = {}
        try:
            for target in self.targets:
                if record := self._shift(target, percent, step, now, mirror):
                    before[target] = record
        except Exception:
            self._undo([*before], lambda target: self._unshift(target, before[target]))
            raise
        return max(record.since for record in self.records())

    def retreat(self, why: str) -> None:
        """Take all traffic off the canary at once, keeping the hold: the rollback completes the story."""
        self._each(lambda target: self._retreat(target, why))

    def promote(self) -> None:
        """Let every object go at 100 % on the canary. Raises RolloutError when one has less.

        Of several, each first remembers that promotion is decided: from then on it can only be completed.
        """
        held = self.records()
        if len(self.targets) > 1 and not all(record.committed for record in held):
            for target in self.targets:
                self._write(target, self._decide_commit)
        self._each(self._promote)

    def restore(self, why: str) -> Restored:
        """Put the weights back exactly as found. Raises RouteDrift when others changed them meanwhile.

        A promotion that was decided is completed instead.
        """
        held = self.records()
        if held and all(record.committed for record in held):
            self._each(self._promote)
            return Restored.COMMITTED
        done = self._each(lambda target: self._restore(target, why))
        return max(done, key=list(Restored).index)

    def _attach(self, target: Target) -> bool:
        def decide(thing: Object) -> Patch:
            if (held := hold.read_record(thing)) is not None:
                if held.run == self.run:
                    return []
                raise HoldLost(
                    f"{target} is held by {held.run}; nothing was written to it. "
                    "Wait for that rollout to end."
                )
            return patches.attach_patch(thing, self._new_record(thing))

        thing, wrote = self._write(target, decide)
        if wrote:
            found = hold.weights_found(thing, self._held(thing))
            self._tell(
                thing, "CanaryAttached", f"{self.plan.canary} attached at weight 0; weights as found: {found}"
            )
        return wrote

    def _shift(self, target: Target, percent: int, step: int, now: float, mirror: int) -> Record | None:
        """The record before, if something was written."""
        before: Record | None = None

        def decide(thing: Object) -> Patch:
            nonlocal before
            before = record = self._held(thing)
            if (record.percent, record.mirror) == (percent, mirror):
                return []
            if record.percent == record.mirror == 0 and record.step:
                raise RolloutError(
                    f"Step {record.step} raised an alarm and {self.plan.canary} was taken off; "
                    "its weight stays 0. Let the rollback end, then start a new run."
                )
            return patches.shift_patch(thing, record, percent, step, now, mirror)

        thing, wrote = self._write(target, decide)
        if wrote:
            weights = hold.weights_now(thing, self._held(thing))
            mirrored = f", {mirror} % mirrored to {self.plan.canary}" if mirror else ""
            self._tell(thing, "WeightShifted", f"step {step}: weights are {weights}{mirrored}")
        return before if wrote else None

    def _unshift(self, target: Target, before: Record) -> None:
        def decide(thing: Object) -> Patch:
            record, at = self._held(thing), (before.percent, before.step, before.since, before.mirror)
            return patches.shift_patch(thing, record, *at)

        thing, _ = self._write(target, decide)
        weights = hold.weights_now(thing, self._held(thing))
        self._tell(thing, "WeightShifted", f"another object could not be shifted: weights are {weights}")

    def _retreat(self, target: Target, why: str) -> None:
        def decide(thing: Object) -> Patch:
            record = self._held(thing)
            if record.percent == record.mirror == 0:
                return []
            return patches.shift_patch(thing, record, 0, record.step, record.since)

        thing, wrote = self._write(target, decide)
        if wrote:
            self._tell(thing, "CanaryAlarm", f"all traffic taken off {self.plan.canary}: {why}", warning=True)

    def _decide_commit(self, thing: Object) -> Patch:
        record = self._full(thing)
        return [] if record.committed else patches.commit_patch(thing, record)

    def _promote(self, target: Target) -> None:
        def decide(thing: Object) -> Patch:
            if hold.read_record(thing) is None:
                return []
            return patches.promote_patch(thing, self._full(thing))

        thing, wrote = self._write(target, decide)
        if wrote:
            kept = f"{self.plan.stable} is kept for a rollback"
            self._tell(thing, "Promoted", f"{self.plan.canary} takes 100 %; {kept}")

    def _full(self, thing: Object) -> Record:
        record = self._held(thing)
        if record.percent != 100:
            raise RolloutError(
                f"{self.plan.canary} has {record.percent} % of the traffic, not 100 %: not promoted."
            )
        return record

    def _restore(self, target: Target, why: str) -> Restored:
        done = Restored.NOTHING

        def decide(thing: Object) -> Patch:
            nonlocal done
            record = hold.read_record(thing)
            if record is None or record.run != self.run:
                return []
            try:
                record, done = self._held(thing), Restored.DONE
                return patches.restore_patch(thing, record)
            except RouteDrift:
                if not hold.is_restored(thing, record):
                    raise
                done = Restored.BY_OTHERS
                return patches.release_patch(thing)

        thing, wrote = self._write(target, decide)
        if wrote:
            self._tell(thing, "RolledBack", f"weights restored as found: {why}", warning=True)
        return done

    def _each(self, act: Callable[[Target], T]) -> list[T]:
        """All answers, after every object had its turn; then raises the first error, if any."""
        answers: list[T] = []
        errors: list[Exception] = []
        for target in self.targets:
            try:
                answers.append(act(target))
            except Exception as error:
                log.warning("%s: %s", target, error)
                errors.append(error)
        if errors:
            raise errors[0]
        return answers

    def _undo(self, done: Sequence[Target], act: Callable[[Target], object]) -> None:
        """Put objects back, the last first. What cannot be put back now is left to the rollback task."""
        for target in reversed(done):
            try:
                act(target)
            except Exception as error:
                log.warning("could not put %s back, the rollback task will: %s", target, error)

    def _write(self, target: Target, decide: Decide) -> tuple[Object, bool]:
        """Read, decide, patch; on a lost race again. Returns the object and whether it was written."""
        for attempt in range(1, ATTEMPTS + 1):
            thing = self._read(target)
            if not (patch := decide(thing)):
                return thing, False
            try:
                return self.cluster.patch(target.api, target.kind, target.name, patch), True
            except PatchRefused:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _read(self, target: Target) -> Object:
        return self.cluster.get(target.api, target.kind, target.name)

    def _new_record(self, thing: Object) -> Record:
        return Record(self.run, self.plan.stable, self.plan.canary, select_places(self.plan, thing))

    def _held(self, thing: Object) -> Record:
        return hold.held_record(thing, self.run)

    def _tell(self, thing: Object, reason: str, message: str, *, warning: bool = False) -> None:
        self.cluster.event(thing, reason, f"{message} ({self.run})", warning=warning)
