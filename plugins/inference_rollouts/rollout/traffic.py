"""The verbs that move traffic: attach, shift, retreat, promote, restore. Each may be repeated at any time.

A rollout may move several objects (routes). A verb writes them in order, one guarded patch each: it reads
the object, decides purely (`core.routing`), and patches. A patch that lost a race against a
harmless write is decided anew; against somebody else's weights it ends in RouteDrift. When a later object
refuses a raise, those before it are put back, so that all move or none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClaimLost, PatchRefused, RolloutError, RouteDrift
from inference_rollouts.core.limits import WRITE_ATTEMPTS
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.routing import claim as claims
from inference_rollouts.core.routing import patches
from inference_rollouts.core.routing.claim import Claim, Place
from inference_rollouts.core.routing.patches import Patch
from inference_rollouts.core.routing.weights import Target

log = logging.getLogger(__name__)

T = TypeVar("T")
Decide = Callable[[K8sObject], Patch]
SelectPlaces = Callable[[K8sObject], tuple[Place, ...]]


class Restored(StrEnum):
    """What a restore found and did; of several objects the last of these counts."""

    NOTHING = "nothing"
    BY_OTHERS = "by others"
    DONE = "done"
    COMMITTED = "promoted"


class Traffic:
    """One run's claim on the objects it moves."""

    def __init__(
        self, cluster: Cluster, plan: Plan, run: str, targets: Sequence[Target], places: SelectPlaces
    ) -> None:
        self.cluster = cluster
        self.plan = plan
        self.run = run
        self.targets = tuple(targets)
        self.places = places

    def read(self) -> list[K8sObject]:
        """The objects as they are now; raises NotFound."""
        return [self._read(target) for target in self.targets]

    def claims(self) -> list[Claim]:
        """This run's claims on its objects, as they are now."""
        live = (claims.read_claim(obj) for obj in self.read())
        return [claim for claim in live if claim is not None and claim.run == self.run]

    def attach(self) -> None:
        """Claim every object with its weights as found, add the canary at weight 0."""
        claimed: list[Target] = []
        try:
            for target in self.targets:
                if self._attach(target):
                    claimed.append(target)  # noqa: PERF401  (must be known when a later one fails)
        except Exception:
            self._undo(claimed, lambda target: self._restore(target, "another object could not be claimed"))
            raise

    def shift(self, percent: int, step: int, now: float, mirror: int = 0) -> float:
        """Give the canary `percent` % of what stable had. Returns since when it has that (Unix time)."""
        before: dict[Target, Claim] = {}
        try:
            for target in self.targets:
                if claim := self._shift(target, percent, step, now, mirror):
                    before[target] = claim
        except Exception:
            self._undo([*before], lambda target: self._unshift(target, before[target]))
            raise
        return max(claim.since for claim in self.claims())

    def retreat(self, why: str) -> None:
        """Take all traffic off the canary at once, keeping the claim: the rollback completes it."""
        self._each(lambda target: self._retreat(target, why))

    def promote(self) -> None:
        """Let every object go at 100 % on the canary. Raises RolloutError when one has less.

        Of several, each first remembers that promotion is decided: from then on it can only be completed.
        """
        own = self.claims()
        if len(self.targets) > 1 and not all(claim.committed for claim in own):
            for target in self.targets:
                self._write(target, self._decide_commit)
        self._each(self._promote)

    def restore(self, why: str) -> Restored:
        """Put the weights back exactly as found. Raises RouteDrift when others changed them meanwhile.

        A promotion that was decided is completed instead.
        """
        own = self.claims()
        if own and all(claim.committed for claim in own):
            self._each(self._promote)
            return Restored.COMMITTED
        done = self._each(lambda target: self._restore(target, why))
        return max(done, key=list(Restored).index)

    def _attach(self, target: Target) -> bool:
        def decide(obj: K8sObject) -> Patch:
            if (claim := claims.read_claim(obj)) is not None:
                if claim.run == self.run:
                    return []
                raise ClaimLost(
                    f"{target} is claimed by {claim.run}; nothing was written to it. "
                    "Wait for that rollout to end."
                )
            return patches.attach_patch(obj, self._new_claim(obj))

        obj, wrote = self._write(target, decide)
        if wrote:
            found = claims.weights_found(obj, self._own(obj))
            self._tell(
                obj, "CanaryAttached", f"{self.plan.canary} attached at weight 0; weights as found: {found}"
            )
        return wrote

    def _shift(self, target: Target, percent: int, step: int, now: float, mirror: int) -> Claim | None:
        """The claim before, if something was written."""
        before: Claim | None = None

        def decide(obj: K8sObject) -> Patch:
            nonlocal before
            before = claim = self._own(obj)
            if (claim.percent, claim.mirror) == (percent, mirror):
                return []
            if claim.percent == claim.mirror == 0 and claim.step:
                raise RolloutError(
                    f"Step {claim.step} raised an alarm and {self.plan.canary} was taken off; "
                    "its weight stays 0. Let the rollback end, then start a new run."
                )
            return patches.shift_patch(obj, claim, percent, step, now, mirror)

        obj, wrote = self._write(target, decide)
        if wrote:
            weights = claims.weights_now(obj, self._own(obj))
            mirrored = f", {mirror} % mirrored to {self.plan.canary}" if mirror else ""
            self._tell(obj, "WeightShifted", f"step {step}: weights are {weights}{mirrored}")
        return before if wrote else None

    def _unshift(self, target: Target, before: Claim) -> None:
        def decide(obj: K8sObject) -> Patch:
            claim, at = self._own(obj), (before.percent, before.step, before.since, before.mirror)
            return patches.shift_patch(obj, claim, *at)

        obj, _ = self._write(target, decide)
        weights = claims.weights_now(obj, self._own(obj))
        self._tell(obj, "WeightShifted", f"another object could not be shifted: weights are {weights}")

    def _retreat(self, target: Target, why: str) -> None:
        def decide(obj: K8sObject) -> Patch:
            claim = self._own(obj)
            if claim.percent == claim.mirror == 0:
                return []
            return patches.shift_patch(obj, claim, 0, claim.step, claim.since)

        obj, wrote = self._write(target, decide)
        if wrote:
            self._tell(obj, "CanaryAlarm", f"all traffic taken off {self.plan.canary}: {why}", warning=True)

    def _decide_commit(self, obj: K8sObject) -> Patch:
        claim = self._full(obj)
        return [] if claim.committed else patches.commit_patch(obj, claim)

    def _promote(self, target: Target) -> None:
        def decide(obj: K8sObject) -> Patch:
            if claims.read_claim(obj) is None:
                return []
            return patches.promote_patch(obj, self._full(obj))

        obj, wrote = self._write(target, decide)
        if wrote:
            kept = f"{self.plan.stable} is kept for a rollback"
            self._tell(obj, "Promoted", f"{self.plan.canary} takes 100 %; {kept}")

    def _full(self, obj: K8sObject) -> Claim:
        claim = self._own(obj)
        if claim.percent != 100:
            raise RolloutError(
                f"{self.plan.canary} has {claim.percent} % of the traffic, not 100 %: not promoted."
            )
        return claim

    def _restore(self, target: Target, why: str) -> Restored:
        done = Restored.NOTHING

        def decide(obj: K8sObject) -> Patch:
            nonlocal done
            claim = claims.read_claim(obj)
            if claim is None or claim.run != self.run:
                return []
            try:
                claim, done = self._own(obj), Restored.DONE
                return patches.restore_patch(obj, claim)
            except RouteDrift:
                if not claims.is_restored(obj, claim):
                    raise
                done = Restored.BY_OTHERS
                return patches.release_patch(obj)

        obj, wrote = self._write(target, decide)
        if wrote:
            self._tell(obj, "RolledBack", f"weights restored as found: {why}", warning=True)
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

    def _write(self, target: Target, decide: Decide) -> tuple[K8sObject, bool]:
        """Read, decide, patch; on a lost race again. Returns the object and whether it was written."""
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            obj = self._read(target)
            if not (patch := decide(obj)):
                return obj, False
            try:
                return self.cluster.patch(target.api, target.kind, target.name, patch), True
            except PatchRefused:
                if attempt == WRITE_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _read(self, target: Target) -> K8sObject:
        return self.cluster.get(target.api, target.kind, target.name)

    def _new_claim(self, obj: K8sObject) -> Claim:
        return Claim(self.run, self.plan.stable, self.plan.canary, self.places(obj))

    def _own(self, obj: K8sObject) -> Claim:
        return claims.own_claim(obj, self.run)

    def _tell(self, obj: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        self.cluster.event(obj, reason, f"{message} ({self.run})", warning=warning)
