"""Where every rollout of a namespace is, from the cluster alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, ClusterUnavailable
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.reporting.status import Status, status_of
from inference_rollouts.core.routing.claim import LastEnding, read_ending
from inference_rollouts.core.routing.watch import Watch, lease_name, watched_by
from inference_rollouts.core.routing.weights import Target, target_of
from inference_rollouts.rollout.claims import Claimed, by_token, claims_on
from inference_rollouts.rollout.targets import claimable_objects
from inference_rollouts.rollout.watching import watches


@dataclass(frozen=True, slots=True)
class Overview:
    """What is claimed, and by object the watch over it; `leases` is whether these may be read at all.

    `endings` says how the last rollout let each other object go; `now` is a time of the API server's clock.
    """

    claimed: tuple[Claimed, ...]
    watches: Mapping[Target, Watch]
    leases: bool
    endings: Mapping[Target, LastEnding]
    now: float

    @property
    def mistakes(self) -> list[str]:
        """What is wrong with claims that cannot be read."""
        return [each.mistake for each in self.claimed if each.mistake]

    @property
    def statuses(self) -> list[Status]:
        """Where each rollout is, in the order of what it claims."""
        return [self._status(rollout) for rollout in by_token(self.claimed).values()]

    def watcher(self, target: Target) -> str:
        """Who watches an object, in words."""
        return watched_by(self.watches.get(target), self.now) if self.leases else "?"

    def of(self, name: str) -> Overview:
        """What concerns the plan, or the object, of this name."""
        claimed = tuple(each for each in self.claimed if each.is_called(name))
        endings = {
            target: last for target, last in self.endings.items() if name in (*target.names, last.plan)
        }
        return Overview(claimed, self.watches, self.leases, endings, self.now)

    def _status(self, rollout: Sequence[Claimed]) -> Status:
        """Of several objects the one that is watched the least says who watches."""
        least = min(rollout, key=lambda each: self._until(each.target))
        watch = self.watches.get(least.target)
        claims = [each.claim for each in rollout if each.claim]
        return status_of(claims, watch.progress if watch else None, self.watcher(least.target))

    def _until(self, target: Target) -> float:
        watch = self.watches.get(target)
        return watch.until if watch else 0.0


def overview(cluster: Cluster) -> Overview:
    """Raises what the cluster raises where routes may not be read; leases may be unreadable."""
    objects = claimable_objects(cluster)
    claimed = claims_on(objects)
    held = {each.target for each in claimed}
    seen = _leases(cluster)
    watching = {}
    for each in claimed:
        watch = (seen or {}).get(lease_name(each.target))
        if watch and each.claim and watch.token == each.claim.token:
            watching[each.target] = watch
    endings = {target: last for target, last in _endings(objects).items() if target not in held}
    return Overview(tuple(claimed), watching, seen is not None, endings, cluster.time())


def _endings(objects: Sequence[K8sObject]) -> dict[Target, LastEnding]:
    return {target_of(obj): last for obj in objects if (last := read_ending(obj))}


def _leases(cluster: Cluster) -> Mapping[str, Watch | None] | None:
    """Who watches; None where this may not be read."""
    try:
        return watches(cluster)
    except (ClusterRefused, ClusterUnavailable):
        return None
