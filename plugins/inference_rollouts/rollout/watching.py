"""Saying, on Leases, that somebody watches what a rollout moves; and reading who does."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClaimUnreadable
from inference_rollouts.core.limits import LEASE_RENEWAL
from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.reporting.status import status_of
from inference_rollouts.core.routing.claim import Claim, read_claim
from inference_rollouts.core.routing.watch import (
    LEASES,
    Progress,
    Watch,
    lease_name,
    renewed_lease,
    standing_labels,
    watch_of,
)
from inference_rollouts.core.routing.weights import Target, target_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """What was said on a lease, when (by the API server's clock), and what the lease is since then."""

    at: float
    labels: dict[str, str]
    watch: Watch | None


def holder(role: str) -> str:
    """Who this process is on a Lease."""
    return f"{role} {socket.gethostname()}/{os.getpid()}"


@dataclass(slots=True)
class Watcher:
    """Renews the leases of a rollout's objects as `holder`: with news at once, else every few seconds.

    It is best effort: where leases may not be written, nothing else suffers. Whoever observes for Airflow
    takes a lease from a guardian, which knows less.
    """

    cluster: Cluster
    holder: str
    _said: dict[str, Said] = field(default_factory=dict)

    def look_at(self, targets: Sequence[Target], token: str) -> None:
        """Say that these objects are watched, as they are now."""
        try:
            found = [self.cluster.find(target.api, target.kind, target.name) for target in targets]
        except Exception as error:
            log.warning("could not say that %s watches: %s", self.holder, error)
            return
        self.renew([obj for obj in found if obj is not None], token)

    def renew(
        self,
        objects: Sequence[K8sObject],
        token: str,
        progress: Progress | None = None,
        seen: Callable[[], str] = lambda: "",
    ) -> None:
        """Say that these objects, as they were just read, are watched; and how far their judge is.

        `seen` says, where it is needed, what whoever comes after has to know: on the first of their leases,
        as it is large, there may be very many, and each is written every few seconds.
        """
        for place, (obj, claim) in enumerate(claimed_by(token, objects)):
            if self._is_due(obj, claim, progress):
                self._renew(obj, claim, progress, "" if place else seen())

    def is_due(self, objects: Sequence[K8sObject], token: str, progress: Progress | None = None) -> bool:
        """Whether `renew` would say anything."""
        return any(self._is_due(obj, claim, progress) for obj, claim in claimed_by(token, objects))

    def _is_due(self, obj: K8sObject, claim: Claim, progress: Progress | None) -> bool:
        said, now = self._said.get(lease_name(target_of(obj))), self.cluster.time()
        is_old = said is None or not said.at <= now < said.at + LEASE_RENEWAL
        return is_old or said is None or said.labels != standing_labels(claim, progress)

    def _renew(self, obj: K8sObject, claim: Claim, progress: Progress | None, seen: str) -> None:
        name, now = lease_name(target_of(obj)), self.cluster.time()
        labels, said = standing_labels(claim, progress), self._said.get(name)
        try:
            # Nobody takes a lease that still counts, so it is as it was left.
            held = said.watch if said and said.watch and said.watch.is_fresh(now) else None
            watch = held or watch_of(self.cluster.find(LEASE_API, "Lease", name))
            status = status_of([claim], progress).headline
            wanted = renewed_lease(obj, claim, self.holder, watch, now, progress, status, seen)
            lease = self.cluster.apply(wanted, force=True)
        except Exception as error:
            self._said.pop(name, None)
            log.warning("could not say that %s watches %s: %s", self.holder, target_of(obj), error)
            return
        self._said[name] = Said(now, labels, watch_of(lease))


def claimed_by(token: str, objects: Sequence[K8sObject]) -> Iterator[tuple[K8sObject, Claim]]:
    """The objects that a rollout claims legibly, and how."""
    for obj in objects:
        with suppress(ClaimUnreadable):
            claim = read_claim(obj)
            if claim is not None and claim.token == token:
                yield obj, claim


def seen_of(cluster: Cluster, targets: Sequence[Target], token: str) -> list[str]:
    """What whoever observed a rollout before has left on its leases. Raises what the cluster raises."""
    leases = [cluster.find(LEASE_API, "Lease", lease_name(target)) for target in targets]
    return [watch.seen for lease in leases if (watch := watch_of(lease)) and watch.token == token]


def watches(cluster: Cluster) -> dict[str, Watch | None]:
    """By name, what all leases of rollouts in the namespace say."""
    leases = cluster.select(LEASE_API, "Lease", LEASES)
    return {lease["metadata"]["name"]: watch_of(lease) for lease in leases}


def end_watch(cluster: Cluster, targets: Sequence[Target], token: str) -> None:
    """Remove a rollout's leases beside objects that it let go.

    It is best effort: a guardian removes what is left.
    """
    for target in targets:
        try:
            lease = cluster.find(LEASE_API, "Lease", lease_name(target))
            watch = watch_of(lease)
            if lease and watch and watch.token == token:
                cluster.delete(lease)
        except Exception as error:
            log.warning("could not remove the lease beside %s: %s", target, error)
