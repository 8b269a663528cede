"""All claims of a namespace, from the cluster alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClaimUnreadable, CommandRefused, NotFound
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.claim import Claim, Command, read_claim, read_ending
from inference_rollouts.core.routing.weights import Target, target_of
from inference_rollouts.rollout.targets import claimable_objects
from inference_rollouts.rollout.way_back import WayBack
from inference_rollouts.rollout.writer import Writer


@dataclass(frozen=True, slots=True)
class Claimed:
    """An object with the claim on it; None, and why, where the claim is unreadable."""

    obj: K8sObject
    claim: Claim | None
    mistake: str = ""

    @property
    def target(self) -> Target:
        return target_of(self.obj)

    def is_called(self, name: str) -> bool:
        """Whether people mean it, or the plan that claims it, by this name."""
        return name in self.target.names or (self.claim is not None and name == self.claim.plan)


def claimed_objects(cluster: Cluster) -> list[Claimed]:
    """Every object of the namespace that a rollout claims, routes first."""
    return claims_on(claimable_objects(cluster))


def claims_on(objects: Iterable[K8sObject]) -> list[Claimed]:
    """Those of these objects that a rollout claims."""
    claimed = []
    for obj in objects:
        try:
            claim = read_claim(obj)
        except ClaimUnreadable as error:
            claimed.append(Claimed(obj, None, str(error)))
        else:
            if claim is not None:
                claimed.append(Claimed(obj, claim))
    return claimed


def by_token(claimed: Iterable[Claimed]) -> dict[str, list[Claimed]]:
    """What is claimed legibly, by the token of its rollout."""
    rollouts: dict[str, list[Claimed]] = {}
    for each in claimed:
        if each.claim:
            rollouts.setdefault(each.claim.token, []).append(each)
    return rollouts


def rollout_called(cluster: Cluster, name: str) -> tuple[str, list[Claimed]]:
    """The token of the one rollout of this plan, or that claims an object called so, and all it claims.

    Raises NotFound where there is none, CommandRefused where there are several, ClaimUnreadable where only
    an unreadable claim stands there.
    """
    claimed = claimed_objects(cluster)
    called = [each for each in claimed if each.is_called(name)]
    tokens = {each.claim.token for each in called if each.claim}
    found = {token: members for token, members in by_token(claimed).items() if token in tokens}
    if len(found) > 1:
        which = " or ".join(members[0].target.names[-1] for members in found.values())
        raise CommandRefused(f"Several rollouts are called {name}. Say which: {which}.")
    for token, members in found.items():
        return token, members
    for unreadable in called:
        raise ClaimUnreadable(unreadable.mistake)
    raise NotFound(f"No rollout of a plan {name} claims anything here, and none claims an object {name}.")


def way_back_of(cluster: Cluster, token: str) -> WayBack:
    """The way back of a rollout that is known by its token alone: from all objects that it claims."""
    targets = [
        each.target
        for each in claimed_objects(cluster)
        if each.claim is not None and each.claim.token == token
    ]
    return WayBack(Writer(cluster), targets, token)


def commands_to(cluster: Cluster, targets: Iterable[Target], token: str) -> tuple[Command, ...]:
    """What was commanded to the rollout with this token, as the objects that it let go remember it."""
    found = (cluster.find(target.api, target.kind, target.name) for target in targets)
    endings = (read_ending(obj) for obj in found if obj)
    return max((last.commands for last in endings if last and last.token == token), key=len, default=())
