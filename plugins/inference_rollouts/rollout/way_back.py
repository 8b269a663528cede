"""The way back: taking a rollout over, taking the canary's traffic away, restoring what was found.

It needs the claims and nothing else: no plan, no XCom, no Airflow. Each object is for itself: one that is
gone is gone, one that cannot be read is told of, the others are restored. Trying again is for the caller,
without end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import TypeVar

from inference_rollouts.core.errors import ClaimLost, NotFound, PassingError, RolloutError, RouteDrift
from inference_rollouts.core.limits import WRITE_ATTEMPTS
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing import patches
from inference_rollouts.core.routing.claim import Claim, Ending, Phase, ended, read_claim, read_ending
from inference_rollouts.core.routing.drift import (
    altered,
    in_order,
    is_as_found,
    is_let_go,
    may_be_astray,
    weights_found,
)
from inference_rollouts.core.routing.patches import Patch, ending_of
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.floors import settle_floors, settle_others
from inference_rollouts.rollout.versions import settle_version
from inference_rollouts.rollout.watching import Watcher, end_watch, holder
from inference_rollouts.rollout.writer import Writer

log = logging.getLogger(__name__)

T = TypeVar("T")


class Restored(StrEnum):
    """What a restore found and did; of several objects the last of these counts."""

    NOTHING = "nothing"
    """This rollout claims nothing there, and did not let it go."""
    BY_OTHERS = "by others"
    """Somebody had put the weights back; the claim is gone now too."""
    DONE = "done"
    """The weights are as found."""
    COMMITTED = "promoted"
    """The promotion was decided, and is completed."""


_ENDED = {
    Ending.RESTORED: Restored.DONE,
    Ending.PROMOTED: Restored.COMMITTED,
    None: Restored.NOTHING,
}


class Decision(StrEnum):
    """Where a rollout ends."""

    RETURN = "return"
    PROMOTE = "promote"


class _CommittedMeanwhile(Exception):
    """Somebody decided the promotion since the claims were read."""


class WayBack:
    """The end of the claims that the rollout with `token` has on `targets`."""

    def __init__(self, writer: Writer, targets: Sequence[Target], token: str) -> None:
        self.writer = writer
        self.targets = tuple(targets)
        self.token = token

    def retreat(self, why: str, kept: int = 0) -> None:
        """Take traffic off the canary at once, whatever stands beside it, keeping the claim.

        It keeps `kept` %, which stable cannot take. Of several objects each is first marked as returning, so
        that no raise can follow the last mark. A promotion that was decided is left to be completed.
        """
        try:
            if self._take_over() is Decision.RETURN:
                self._each(lambda target: self._retreat(target, why, kept))
        finally:
            self.writer.tell_all()

    def hold(self, kept: int, why: str) -> None:
        """Let the canary keep `kept` % for now, what stable cannot take yet. Nothing else is raised.

        Unlike an alarm's this fights nobody: raises RouteDrift where others changed the weights.
        """
        try:
            if self._take_over() is Decision.RETURN:
                self._each(lambda target: self._hold(target, kept, why))
        finally:
            self.writer.tell_all()

    def claims(self) -> list[Claim]:
        """This rollout's claims, as they are now: of objects that are there and can be read."""
        objects = (self.writer.find(target) for target in self.targets)
        claims = (self._claim_or_none(obj) for obj in objects if obj is not None)
        return [claim for claim in claims if claim is not None]

    def watch(self, role: str) -> None:
        """Say that somebody sees to the way back."""
        Watcher(self.writer.cluster, holder(role)).look_at(self.targets, self.token)

    def begin(self) -> None:
        """Say on every object that it goes back: nothing is raised any more, and patience has begun to run.

        Weights stay, and a promotion that was decided.
        """
        committed = self._committed()
        if not _is_decided(committed):
            with suppress(_CommittedMeanwhile):
                self._try_each(partial(self._mark, committed))

    def is_decided(self) -> bool:
        """Whether the promotion was decided: one object was let go promoted, or all are committed."""
        return _is_decided(self._committed())

    def restore(self, why: str, now: float) -> Restored:
        """Put the weights back as found and let every object go; a promotion that was decided is completed.

        Raises RouteDrift when others changed weights that no alarm had taken away.
        """
        try:
            if self._take_over() is Decision.PROMOTE:
                self._each(lambda target: self._complete(target, now))
                self.let_go()
                return Restored.COMMITTED
            done = self._each(lambda target: self.restore_one(target, why, now))
            self.let_go()
            return max(done, key=list(Restored).index, default=Restored.NOTHING)
        finally:
            self.writer.tell_all()

    def restore_one(self, target: Target, why: str, now: float, *, untried: bool = False) -> Restored:
        """The same for one object that no other depends on; `untried`: the canary has not begun."""
        done, was = Restored.NOTHING, None

        def decide(obj: K8sObject) -> Patch:
            nonlocal done, was
            claim = self._claim(obj)
            if claim is None:
                done = _ENDED[ended(obj, self.token)]
                return []
            was = obj
            before = read_ending(obj)
            last = ending_of(claim, Ending.RESTORED, now, why, untried=untried, before=before)
            done = Restored.DONE
            if _may_restore(obj, claim):
                return patches.restore_patch(obj, claim, last)
            if not is_as_found(obj, claim):
                in_order(obj, claim)  # raises RouteDrift, naming who changed what
            done = Restored.BY_OTHERS
            return patches.release_patch(obj, last)

        written = self.writer.write(target, decide)
        if written.answered and was:
            self._require_restored(target, written.obj, was)
        if written.wrote:
            self.writer.tell(written.obj, "RolledBack", f"weights restored as found: {why}", warning=True)
        return done

    def _require_restored(self, target: Target, obj: K8sObject, was: K8sObject) -> None:
        """Raises RouteDrift where the cluster has made something else of a restoring patch.

        It stays claimed then, lest it is called restored.
        """
        claim = self._claim(was)
        if claim is None or is_let_go(obj, claim):
            return
        back = claim.returning()

        def decide(live: K8sObject) -> Patch:
            done = ended(live, self.token) is None or read_claim(live) is not None
            return [] if done else patches.claim_again_patch(live, back, was)

        self.writer.write(target, decide)
        raise altered(obj, claim, f"the weights as found, {weights_found(was, claim)}")

    def _retreat(self, target: Target, why: str, kept: int) -> None:
        def decide(obj: K8sObject) -> Patch:
            claim = self._claim(obj)
            if claim is None:
                raise ClaimLost(f"{target} is not claimed by this run any more; its weights are as they are.")
            if claim.alarm and (claim.percent, claim.mirror) == (patches.still_kept(claim, kept), 0):
                return []
            return patches.retreat_patch(obj, self._due(claim), kept)

        written = self.writer.write(target, decide)
        if written.wrote:
            claim = read_claim(written.obj)
            canary = claim.canary if claim else "the canary"
            taken = "all traffic" if not kept else f"all traffic but {kept} %, which stable cannot take,"
            self.writer.tell(written.obj, "CanaryAlarm", f"{taken} taken off {canary}: {why}", warning=True)

    def _hold(self, target: Target, kept: int, why: str) -> None:
        def decide(obj: K8sObject) -> Patch:
            claim = self._claim(obj)
            if claim is None:
                return []
            if claim.phase is Phase.RETURNING and claim.percent == patches.still_kept(claim, kept):
                return []
            return patches.hold_patch(obj, self._due(claim), kept)

        written = self.writer.write(target, decide)
        if written.wrote and (claim := read_claim(written.obj)):
            what, for_now = f"{claim.canary} has {claim.percent} %", f" while {claim.stable} cannot take it"
            reason, text = ("WayBackHeld", what + for_now) if claim.percent else ("TrafficTakenOff", what)
            self.writer.tell(written.obj, reason, f"{text}: {why}", warning=True)

    def _take_over(self) -> Decision:
        """Begin a new epoch on every object, in which nothing is raised, unless promotion is decided.

        Raises PassingError while that is being decided, object after object.

        One object needs no mark of its own: there the first write of the way back is it. (It is committed
        only where there were others, which have been let go since.) An object that cannot be marked now keeps
        no other from going back. Whoever commits at the same moment changes a claim, so that its mark is
        refused and all is decided anew.
        """
        if len(self.targets) == 1:
            return Decision.PROMOTE if self.is_decided() else Decision.RETURN
        for _ in range(WRITE_ATTEMPTS):
            committed = self._committed()
            if _is_decided(committed):
                return Decision.PROMOTE
            with suppress(_CommittedMeanwhile):
                self._try_each(partial(self._mark, committed))
                return Decision.RETURN
        raise PassingError("A promotion is being decided at this moment; who goes back tries again.")

    def _committed(self) -> dict[Target, bool | Ending]:
        """By object that this rollout claims: is it committed; of one it let go promoted, that."""
        committed: dict[Target, bool | Ending] = {}
        for target in self.targets:
            if (obj := self.writer.find(target)) is None:
                continue
            if ended(obj, self.token) is Ending.PROMOTED:
                committed[target] = Ending.PROMOTED
            elif (claim := self._claim_or_none(obj)) is not None:
                committed[target] = claim.committed
        return committed

    def _mark(self, committed: Mapping[Target, bool | Ending], target: Target) -> None:
        """A new epoch on one object. Raises _CommittedMeanwhile unless it is `committed` as was seen."""

        def decide(obj: K8sObject) -> Patch:
            claim = self._claim(obj)
            if claim is None or claim.phase is Phase.RETURNING:
                if ended(obj, self.token) is Ending.PROMOTED:
                    raise _CommittedMeanwhile
                return []
            if claim.committed != bool(committed.get(target)):
                raise _CommittedMeanwhile
            return patches.return_patch(obj, self._due(claim))

        self.writer.write(target, decide)

    def _complete(self, target: Target, now: float) -> None:
        def decide(obj: K8sObject) -> Patch:
            claim = self._claim(obj)
            if claim is None:
                return []
            return patches.promote_patch(obj, claim, ending_of(claim, Ending.PROMOTED, now))

        written = self.writer.write(target, decide)
        if written.wrote:
            self.writer.tell(written.obj, "Promoted", "the promotion was decided and is completed")

    def let_go(self) -> None:
        """What is to be done once no object is claimed any more; best effort."""
        end_watch(self.writer.cluster, self.targets, self.token)
        for target in self.targets:
            settle_floors(self.writer, target)
            settle_version(self.writer, target)
        settle_others(self.writer, self.targets)

    def _due(self, claim: Claim) -> Claim:
        """The claim when the way back begins: its end is due from now on."""
        if claim.phase is Phase.RETURNING:
            return claim
        return claim.with_(next_move_by=self.writer.cluster.time())

    def _claim(self, obj: K8sObject) -> Claim | None:
        """This rollout's claim on an object. Raises ClaimUnreadable when somebody edited it."""
        claim = read_claim(obj)
        return claim if claim is not None and claim.token == self.token else None

    def _claim_or_none(self, obj: K8sObject) -> Claim | None:
        try:
            return self._claim(obj)
        except ClaimLost:
            return None

    def _each(self, act: Callable[[Target], T]) -> list[T]:
        """All answers of objects that are there, after every one had its turn.

        Then an error, if any: first one that may pass, so that all is tried again.
        """
        answers, errors = self._try_each(act)
        if errors:
            raise min(errors, key=lambda error: isinstance(error, RolloutError))
        return answers

    def _try_each(self, act: Callable[[Target], T]) -> tuple[list[T], list[Exception]]:
        """Answers and errors; an object that is gone gives neither."""
        answers: list[T] = []
        errors: list[Exception] = []
        for target in self.targets:
            try:
                answers.append(act(target))
            except _CommittedMeanwhile:
                raise
            except NotFound:
                log.warning("%s is gone", target)
            except Exception as error:
                log.warning("%s: %s", target, error)
                errors.append(error)
        return answers, errors


def _is_decided(committed: Mapping[Target, bool | Ending]) -> bool:
    return Ending.PROMOTED in committed.values() or bool(committed and all(committed.values()))


def _may_restore(obj: K8sObject, claim: Claim) -> bool:
    """Whether our weights stand there, or an alarm has taken away all of them, whatever stands beside."""
    if claim.alarm:
        return not may_be_astray(obj, claim)
    try:
        in_order(obj, claim)
    except RouteDrift:
        return False
    return True
