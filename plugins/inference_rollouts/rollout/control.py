"""Commands on the claims of a rollout: the one way in which people, and the switch, take the wheel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClaimLost, CommandRefused, NotFound
from inference_rollouts.core.limits import WRITE_ATTEMPTS
from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.claim import Claim, Command, Phase, What, read_claim
from inference_rollouts.core.routing.control import (
    HURRIES,
    command_of,
    commanded,
    effect,
    given,
    latest,
    standing_order,
)
from inference_rollouts.core.routing.patches import Patch, command_patch
from inference_rollouts.core.routing.switch import Switch
from inference_rollouts.core.routing.watch import lease_name, watch_of, watched_by
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.claims import Claimed, by_token, rollout_called
from inference_rollouts.rollout.switch import read_switch
from inference_rollouts.rollout.writer import Writer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Control:
    """The wheel of the rollout with `token`, which claims `targets`."""

    cluster: Cluster
    targets: Sequence[Target]
    token: str

    def give(self, what: str, who: str, why: str, mark: str = "") -> str:
        """Leave a command on every claim; what happens to the traffic now, in sentences.

        Each write is guarded by the claim that was read. The first object decides which of two commands is
        the later one. One that was given with the same `mark` before is the same command: it is only left
        where it does not stand yet. Raises CommandRefused where the command makes no sense now, ClaimLost
        where nothing is claimed any more.
        """
        for _ in range(WRITE_ATTEMPTS):
            claims = self.claims()
            if not claims:
                raise ClaimLost(
                    "The rollout claims nothing: it has ended, or not begun. Nothing was changed."
                )
            if before := given(claims, mark):
                return self._given(before, claims)
            command = command_of(what, who, why, claims, self.cluster.time(), mark)
            self._require_no_stop(command)
            if (claim := self.leave(command)) is not None:
                return f"{effect(claim, command)}. {self._watched(command)}"
        raise CommandRefused("Others command this rollout at this very moment. Look at it, and try again.")

    def _given(self, command: Command, claims: Sequence[Claim]) -> str:
        """What has become of a command that was given before; where it is the latest it is left on all."""
        claim = self.leave(command) if command == latest(claims) else None
        claim = claim or max(claims, key=lambda each: each.command.sequence if each.command else 0)
        return f"{effect(claim, command)}. {self._watched(command)}"

    def _require_no_stop(self, command: Command) -> None:
        """Raises CommandRefused for what would go on while all rollouts are stopped."""
        if command.what is What.RESUME or command.what in HURRIES:
            switch = read_switch(self.cluster)
            if switch and switch.is_on(command.at):
                raise CommandRefused(f"{switch}. Let them go on first; the share stays as it is.")

    def leave(self, command: Command) -> Claim | None:
        """The first claim with the command on it, once that is on all; None where a later one was faster."""
        writer, first = Writer(self.cluster), None
        try:
            for target in sorted(self.targets, key=str):  # all who command write the same one first
                with suppress(NotFound):
                    claim = self._leave(writer, target, command)
                    first = first or claim
                    if first and not _stands(first, command):
                        return None
        finally:
            writer.tell_all()
        return first

    def claims(self) -> list[Claim]:
        """As they are now: of objects that are there, and are claimed legibly."""
        objects = (self.cluster.find(target.api, target.kind, target.name) for target in self.targets)
        return [claim for obj in objects if obj is not None and (claim := self._claim(obj))]

    def obey(self, claims: Sequence[Claim], switch: Callable[[], Switch | None]) -> list[Claim]:
        """These claims, after what the switch orders, or a command that stands on some of them, is on all.

        Whoever gave that may have died halfway. `switch` reads it. Best effort: the next look tries again.
        """
        try:
            if order := self.ordered(claims, switch()):
                self.leave(order)
                return self.claims()
        except Exception as error:
            log.warning("what is commanded could not be left on all claims: %s", error)
        return list(claims)

    def ordered(self, claims: Sequence[Claim], switch: Switch | None) -> Command | None:
        """What is still to be left on some of these claims; None where all have it, or nothing is ordered."""
        order = standing_order(claims, switch, self.cluster.time()) or latest(claims)
        return order if order and any(_differs(claim, order) for claim in claims) else None

    def _leave(self, writer: Writer, target: Target, command: Command) -> Claim | None:
        """The claim on one object after it; None where this rollout has none there."""

        def decide(obj: K8sObject) -> Patch:
            claim = self._claim(obj)
            if claim is None or (after := commanded(claim, command)) is claim:
                return []
            return command_patch(obj, claim=after)

        written = writer.write(target, decide)
        claim = self._claim(written.obj)
        if written.wrote and claim:
            text = f"{command.what.value} by {command}; {effect(claim, command)}"
            writer.tell(written.obj, "Commanded", text, warning=command.what is What.ABORT)
        return claim

    def _claim(self, obj: K8sObject) -> Claim | None:
        try:
            claim = read_claim(obj)
        except ClaimLost:
            return None
        return claim if claim and claim.token == self.token else None

    def _watched(self, command: Command) -> str:
        """Who sees to it, in a sentence; what to do where nobody does."""
        now = self.cluster.time()
        try:
            leases = [self.cluster.find(LEASE_API, "Lease", lease_name(target)) for target in self.targets]
        except Exception as error:
            return f"Who watches it is not to be read ({error})."
        watches = [watch for lease in leases if (watch := watch_of(lease)) and watch.token == self.token]
        least = min(watches, key=lambda watch: watch.until, default=None)
        if least is not None and least.is_fresh(now):
            return f"Watched by {watched_by(least, now)}."
        todo = {
            What.ABORT: "start a guardian, or end it yourself with `inference-rollouts restore`",
            What.PAUSE: "start a guardian, or nobody sees an alarm",
        }.get(command.what, "start Airflow, which alone raises")
        return f"Watched by {watched_by(least, now)}: {todo}."


def _differs(claim: Claim, command: Command) -> bool:
    """Whether a command is still to be left on a claim."""
    try:
        return commanded(claim, command) is not claim
    except CommandRefused:
        return False


def obey_all(cluster: Cluster, claimed: Iterable[Claimed]) -> list[Control]:
    """Have what is commanded, by the switch too, on all claims; the rollouts of which one changed."""
    switch = cache(partial(read_switch, cluster))
    changed = []
    for token, members in by_token(claimed).items():
        claims = [each.claim for each in members if each.claim]
        control = Control(cluster, [each.target for each in members], token)
        if control.obey(claims, switch) != claims:
            changed.append(control)
    return changed


def control_of(cluster: Cluster, name: str) -> Control:
    """The wheel of the one rollout of this name. Raises as `rollout_called`."""
    token, members = rollout_called(cluster, name)
    return Control(cluster, [each.target for each in members], token)


def _stands(claim: Claim, command: Command) -> bool:
    """Whether it is this command that the claim has taken, or it goes back as this one wants."""
    return claim.command == command or (command.what is What.ABORT and claim.phase is Phase.RETURNING)
