"""The verbs that move traffic forward: attach, permit, shift, promote. Each may be repeated at any time.

A rollout may move several objects (routes). A verb writes them in order, one guarded patch each: it reads
the object, decides purely (`core.routing`), and patches. A patch that lost a race against a harmless write
is decided anew; against somebody else's weights it ends in RouteDrift. When a later object refuses a raise,
those before it are put back, so that all move or none. The way back is `rollout.way_back`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClaimLost, RouteDrift
from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.reporting.status import status_of
from inference_rollouts.core.routing import drift, patches
from inference_rollouts.core.routing.claim import (
    Claim,
    Ending,
    Floor,
    Owner,
    Phase,
    Place,
    Standing,
    ended,
    read_claim,
    standing_of,
)
from inference_rollouts.core.routing.drift import own_claim
from inference_rollouts.core.routing.patches import Patch, ending_of
from inference_rollouts.core.routing.permission import (
    permission_of,
    permits,
    require_progressing,
    require_promotion,
    require_raise,
)
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.guard import guard_of
from inference_rollouts.core.run.pace import judged_by, raised_by, until_warm
from inference_rollouts.core.schedule.moves import leave_by, require_open
from inference_rollouts.rollout.switch import read_switch
from inference_rollouts.rollout.watching import Watcher, holder
from inference_rollouts.rollout.way_back import WayBack
from inference_rollouts.rollout.writer import Writer

WAIT_STEP = 1.0  # seconds of waiting that are not worth a write

log = logging.getLogger(__name__)

SelectPlaces = Callable[[K8sObject], tuple[Place, ...]]


class Traffic:
    """One run's claim on the objects it moves. `places` selects the rules of an object that move."""

    def __init__(self, cluster: Cluster, frozen: Frozen, places: SelectPlaces) -> None:
        self.frozen = frozen
        self.plan = frozen.plan
        self.targets = frozen.targets
        self.places = places
        self.writer = Writer(cluster)

    @property
    def way_back(self) -> WayBack:
        """Everything that ends this run's claims otherwise than by promotion."""
        return WayBack(self.writer, self.targets, self.frozen.token)

    def claims(self) -> list[Claim]:
        """This run's claims on its objects, as they are now: of those that are there and can be read."""
        return self.way_back.claims()

    def standings(self) -> list[Standing]:
        """How each object stands to this run, as it is now."""
        return [standing_of(self.writer.find(target), self.frozen.token) for target in self.targets]

    def attach(self, floors: tuple[Floor, ...] = ()) -> None:
        """Claim every object with its weights as found, add the canary at weight 0.

        `floors` are remembered to be put back when the rollout ends.
        """
        claimed: list[Target] = []
        try:
            for target in self.targets:
                if self._attach(target, floors):
                    claimed.append(target)  # noqa: PERF401  (must be known when a later one fails)
        except Exception:
            self._undo(claimed, self._unattach)
            raise
        finally:
            self.writer.tell_all()
        self._watch()

    def permit(self, step: int, now: float) -> None:
        """Let the raise that follows `step` (0: the warm-up) happen: it has passed.

        Raises ClaimLost when an object is not ours any more, or another step stands there.
        """
        for target in self.targets:
            self.writer.write(target, lambda obj: self._permit(obj, step, now))

    def wait(self, seconds: float) -> None:
        """Say that the next move may take so long from now: a person is waited for, or a window."""
        for target in self.targets:
            self.writer.write(target, lambda obj: self._wait(obj, self._in(seconds)))

    def shift(self, index: int, step: Step, now: float) -> float:
        """Give the canary what `step`, the `index`-th from 1, says; returns since when it has that (Unix).

        Raises RaiseRefused unless every claim says that the step before passed; WindowClosed when it may not
        be raised at this time, Held while somebody does not want it.
        """
        before: dict[Target, Claim] = {}
        try:
            for target in self.targets:
                if claim := self._shift(target, index, step, now):
                    before[target] = claim
        except Exception:
            before |= self._begun(index, before)
            self._undo([*before], lambda target: self._unshift(target, before[target]))
            raise
        finally:
            self.writer.tell_all()
        self._watch()
        return max((claim.since for claim in self.claims()), default=now)

    def promote(self, now: float) -> None:
        """Let every object go at 100 % on the canary.

        Of several, each first remembers that promotion is decided: from then on it can only be completed.
        Raises RaiseRefused when an object has less, or its last step has not passed; Held while somebody does
        not want it; ClaimLost when it is not ours.
        """
        try:
            if len(self.targets) > 1:
                for target in self.targets:
                    self.writer.write(target, self._commit)
            for target in self.targets:
                self._promote(target, now)
            self.way_back.let_go()
        finally:
            self.writer.tell_all()

    def _attach(self, target: Target, floors: tuple[Floor, ...]) -> bool:
        def decide(obj: K8sObject) -> Patch:
            if (claim := read_claim(obj)) is not None:
                if claim.token == self.frozen.token:
                    return []
                raise ClaimLost(
                    f"{target} is claimed by {claim.owner.run}; nothing was written to it. "
                    "Wait for that rollout to end."
                )
            if ended(obj, self.frozen.token) is Ending.PROMOTED:
                raise ClaimLost(
                    f"{target} was promoted by this very try already; nothing was written to it. To roll out "
                    "again, start a new run, or clear this one from its first task on."
                )
            return patches.attach_patch(obj, self._new_claim(obj).with_(floors=floors))

        written = self.writer.write(target, decide)
        if written.wrote:
            found = drift.weights_found(written.obj, self._own(written.obj))
            status = status_of([self._own(written.obj)]).headline
            text = f"{status}; {self.plan.canary} attached at weight 0, weights as found: {found}"
            self._tell(written.obj, "CanaryAttached", text)
        return written.wrote

    def _unattach(self, target: Target) -> object:
        return self.way_back.restore_one(target, "another was not claimed", self._in(0.0), untried=True)

    def _permit(self, obj: K8sObject, step: int, now: float) -> Patch:
        claim = self._own(obj)
        require_progressing(obj, claim)
        if claim.step != step:
            raise ClaimLost(f"Step {claim.step} stands where step {step} was judged; it permits nothing.")
        if permits(claim):
            return []
        begun = self._in(0.0)
        due = raised_by(self.plan, self.frozen.calendar, step + 1, begun)
        return patches.permit_patch(obj, claim, permission_of(claim, now), due)

    def _wait(self, obj: K8sObject, next_move_by: float) -> Patch:
        claim = self._own(obj)
        require_progressing(obj, claim)
        if claim.next_move_by is None or claim.next_move_by >= next_move_by - WAIT_STEP:
            return []
        return patches.wait_patch(obj, claim, next_move_by)

    def _shift(self, target: Target, index: int, step: Step, now: float) -> Claim | None:
        """The claim before, if something was written."""
        before: Claim | None = None

        def decide(obj: K8sObject) -> Patch:
            nonlocal before
            claim = self._own(obj)
            if (claim.step, claim.percent, claim.mirror) == (index, step.weight, step.mirror):
                require_progressing(obj, claim)
                return []
            before = claim
            begun = self._in(0.0)
            require_raise(obj, claim, index, read_switch(self.writer.cluster), begun)
            require_open(self.frozen.calendar, index, begun)
            moved = claim.with_(
                step=index,
                percent=step.weight,
                mirror=step.mirror,
                since=now,
                next_move_by=judged_by(self.plan, self.frozen.calendar, index, begun),
                leave_by=None if math.isinf(leave := leave_by(self.frozen.calendar, begun)) else leave,
            )
            return patches.shift_patch(obj, claim, moved)

        written = self.writer.write(target, decide)
        if not written.wrote:
            return None
        claim = self._own(written.obj)
        if written.answered and before:
            self._require_raised(target, written.obj, claim, before)
        weights, status = drift.weights_now(written.obj, claim), status_of([claim]).headline
        mirrored = f", {step.mirror} % mirrored to {self.plan.canary}" if step.mirror else ""
        self._tell(written.obj, "WeightShifted", f"{status}; weights are {weights}{mirrored}")
        return before

    def _require_raised(self, target: Target, obj: K8sObject, claim: Claim, before: Claim) -> None:
        """Raises RouteDrift where the cluster has made something else of a raise, which is taken back."""
        try:
            drift.in_order(obj, claim)
        except RouteDrift as error:
            self.writer.write(target, lambda live: self._taken_back(live, claim, before))
            raise drift.altered(obj, claim, drift.weights_now(obj, claim)) from error

    def _taken_back(self, obj: K8sObject, claim: Claim, before: Claim) -> Patch:
        if (live := self._own(obj)) != claim:
            raise ClaimLost(f"{live.owner.run} went on in another task meanwhile.")
        return patches.take_back_patch(obj, claim, before)

    def _begun(self, index: int, known: Collection[Target]) -> dict[Target, Claim]:
        """What else an earlier try has raised to this step, as it was: like those that it left behind."""
        try:
            claims = {target: self._own(self.writer.read(target)) for target in self.targets}
        except Exception as error:
            log.warning("whether another try has begun with step %d is not to be seen: %s", index, error)
            return {}
        behind = (each for each in claims.values() if each.step == index - 1)
        if (like := next(behind, None)) is None or like.phase is Phase.RETURNING:
            return {}
        fields = ("step", "percent", "mirror", "since", "next_move_by", "leave_by")
        was = {name: getattr(like, name) for name in fields}
        return {
            target: claim.with_(**was)
            for target, claim in claims.items()
            if claim.step == index and target not in known
        }

    def _unshift(self, target: Target, before: Claim) -> None:
        def decide(obj: K8sObject) -> Patch:
            claim = self._own(obj)
            require_progressing(obj, claim)
            return [] if claim == before else patches.shift_patch(obj, claim, before)

        written = self.writer.write(target, decide)
        weights = drift.weights_now(written.obj, self._own(written.obj))
        self._tell(written.obj, "WeightShifted", f"another could not be shifted: weights are {weights}")

    def _commit(self, obj: K8sObject) -> Patch:
        if ended(obj, self.frozen.token) is Ending.PROMOTED:
            return []
        claim = self._own(obj)
        if claim.committed:
            return []
        self._require_promotion(obj, claim)
        return patches.commit_patch(obj, claim)

    def _promote(self, target: Target, now: float) -> None:
        def decide(obj: K8sObject) -> Patch:
            if ended(obj, self.frozen.token) is Ending.PROMOTED:
                return []
            claim = self._own(obj)
            self._require_promotion(obj, claim)
            if len(self.targets) > 1 and not claim.committed:
                raise ClaimLost(f"{target} is not committed to the promotion any more: it goes back.")
            return patches.promote_patch(obj, claim, ending_of(claim, Ending.PROMOTED, now))

        written = self.writer.write(target, decide)
        if written.wrote:
            kept = f"{self.plan.stable} is kept for a rollback"
            self._tell(written.obj, "Promoted", f"{self.plan.canary} takes 100 %; {kept}")

    def _require_promotion(self, obj: K8sObject, claim: Claim) -> None:
        """One that is decided is held by nobody."""
        switch = None if claim.committed else read_switch(self.writer.cluster)
        require_promotion(obj, claim, len(self.plan.all_steps), switch, self._in(0.0))

    def _undo(self, done: Sequence[Target], act: Callable[[Target], object]) -> None:
        """Put objects back, the last first. What cannot be put back now is left to the rollback task."""
        for target in reversed(done):
            try:
                act(target)
            except Exception as error:
                log.warning("could not put %s back, the rollback task will: %s", target, error)

    def _new_claim(self, obj: K8sObject) -> Claim:
        frozen, plan = self.frozen, self.plan
        dag = frozen.run.partition("/")[0]
        return Claim(
            token=frozen.token,
            owner=Owner(run=frozen.run, dag=dag, link=frozen.link),
            plan=plan.name,
            kind=plan.kind.value,
            digest=frozen.digest,
            began=frozen.began,
            stable=plan.stable,
            canary=plan.canary,
            steps=len(plan.all_steps),
            places=self.places(obj),
            next_move_by=self._in(until_warm(plan)),
            abandon_after=plan.deadlines.abandon,
            guard=guard_of(frozen),
            version=frozen.version,
        )

    def _watch(self) -> None:
        """Say that somebody watches until the next one does."""
        Watcher(self.writer.cluster, holder("task")).look_at(self.targets, self.frozen.token)

    def _in(self, seconds: float) -> float:
        """So long from now, by the API server's clock."""
        return self.writer.cluster.time() + seconds

    def _own(self, obj: K8sObject) -> Claim:
        return own_claim(obj, self.frozen.token)

    def _tell(self, obj: K8sObject, reason: str, message: str) -> None:
        self.writer.tell(obj, reason, f"{message} ({self.frozen.run})")
