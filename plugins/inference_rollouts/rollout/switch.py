"""The switch that stops all rollouts of a namespace: read, thrown, and put back."""

from __future__ import annotations

import time
from typing import NamedTuple
from weakref import WeakKeyDictionary

from inference_rollouts.clients.kubernetes import Cluster, Reader
from inference_rollouts.core.errors import ClusterUnavailable, CommandRefused, PatchRefused
from inference_rollouts.core.limits import SWITCH_SEEN, WRITE_ATTEMPTS
from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.routing.switch import (
    SWITCH,
    Switch,
    put_back_patch,
    require_throwable,
    switch_of,
    thrown_lease,
)


def read_switch(cluster: Reader) -> Switch | None:
    """What the switch says now; None where nobody ever threw it.

    Raises what the cluster raises: whoever cannot read it may not raise.
    """
    return switch_of(cluster.find(LEASE_API, "Lease", SWITCH))


class Seen(NamedTuple):
    """What the switch of a cluster said, and when (`time.monotonic`)."""

    switch: Switch | None
    at: float


_seen: WeakKeyDictionary[Reader, Seen] = WeakKeyDictionary()


def seen_switch(cluster: Reader) -> Switch | None:
    """The same as it was a moment ago: all observers of a process on one cluster ask once. For no raise."""
    seen = last_seen(cluster)
    if seen is None:
        seen = _seen[cluster] = Seen(read_switch(cluster), time.monotonic())
    return seen.switch


def last_seen(cluster: Reader) -> Seen | None:
    """What `seen_switch` answers without asking anybody; None where it has to ask."""
    seen = _seen.get(cluster)
    return seen if seen and time.monotonic() - seen.at < SWITCH_SEEN else None


def throw(cluster: Cluster, mode: str, who: str, why: str, seconds: float) -> Switch:
    """Stop all rollouts of the namespace for so long; guarded by the switch as it was read.

    Raises CommandRefused where somebody else has thrown it harder, or nobody says who, why and for how long.
    """
    for _ in range(WRITE_ATTEMPTS):
        before, now = read_switch(cluster), cluster.time()
        lease = thrown_lease(require_throwable(before, mode, who, why, seconds, now), who, why, now, seconds)
        if before:
            lease["metadata"]["resourceVersion"] = before.version
        try:
            live = cluster.apply(lease, force=True)
        except ClusterUnavailable as error:
            if error.status != 409:
                raise
            continue
        thrown = switch_of(live)
        assert thrown
        cluster.event(live, "RolloutsStopped", str(thrown), warning=True)
        return thrown
    raise _raced()


def put_back(cluster: Cluster, who: str, why: str) -> str:
    """Let rollouts go on, guarded by the switch as it was read; what that ended, in a sentence."""
    for _ in range(WRITE_ATTEMPTS):
        lease = cluster.find(LEASE_API, "Lease", SWITCH)
        before = switch_of(lease)
        if lease is None or before is None or not before.is_on(cluster.time()):
            return "Nothing is stopped."
        try:
            live = cluster.patch(LEASE_API, "Lease", SWITCH, put_back_patch(lease))
        except PatchRefused:
            continue
        cluster.event(live, "RolloutsGoOn", f"{who}: {why}; {before}")
        return f"Rollouts go on. Until now it was so: {before}."
    raise _raced()


def _raced() -> CommandRefused:
    return CommandRefused("Others throw the switch at this very moment. Look at it, and try again.")
