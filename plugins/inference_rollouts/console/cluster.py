"""What clusters say of rollouts: claims, who watches, pods, Events. It is only read, and best effort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from inference_rollouts.clients import Clients
from inference_rollouts.core.objects.k8s import K8sObject, moment, part
from inference_rollouts.core.objects.ownership import OWNER
from inference_rollouts.core.plan.common import Connections
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.ladder import Happening
from inference_rollouts.core.reporting.pods import SeenPod, seen_pods
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.clients import clients_at
from inference_rollouts.rollout.overview import overview
from inference_rollouts.rollout.pods import pods_of
from inference_rollouts.rollout.switch import read_switch
from inference_rollouts.rollout.undo import Aftermath, aftermath_of

Place = tuple[Connections, str]
"""The connections to a cluster, and a namespace in it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """By token of a rollout: its claims, its status, and whether somebody watches it (None: nobody knows).

    `stop` says who stopped all rollouts here, and why; empty where they go on.
    """

    claims: Mapping[str, Sequence[Claim]]
    statuses: Mapping[str, Status]
    watched: Mapping[str, bool | None]
    stop: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The pods of both arms, and what our own Events say about what moves."""

    canary: tuple[SeenPod, ...]
    stable: tuple[SeenPod, ...]
    events: tuple[Happening, ...]


@cache
def clients_in(place: Place) -> Clients:
    """The clients of a place, for as long as this process lives: they keep their connections."""
    return clients_at(*place)


def place_of(plan: Plan) -> Place:
    return plan.connections, plan.namespace


def claims_in(place: Place) -> Claims:
    """Every rollout of a place. Raises what the cluster raises."""
    cluster = clients_in(place).cluster
    seen = overview(cluster)
    tokens = {each.target: each.claim.token for each in seen.claimed if each.claim}
    statuses = dict(zip(dict.fromkeys(tokens.values()), seen.statuses, strict=True))
    watched: dict[str, bool | None] = {}
    for target, token in tokens.items():
        watch = seen.watches.get(target)
        fresh = None if not seen.leases else watch is not None and watch.is_fresh(seen.now)
        watched[token] = fresh if watched.get(token, True) else watched[token]
    claims = {
        token: [c.claim for c in seen.claimed if c.claim and c.claim.token == token] for token in statuses
    }
    switch = read_switch(cluster) if seen.leases else None
    return Claims(claims, statuses, watched, str(switch) if switch and switch.is_on(seen.now) else "")


def aftermath_in(frozen: Frozen) -> Aftermath:
    """What can become of the promotion by a run. Raises what the cluster raises."""
    cluster = clients_in(place_of(frozen.plan)).cluster
    return aftermath_of(cluster, frozen.plan.name, frozen.run, frozen.token)


def surroundings_of(frozen: Frozen) -> Surroundings:
    """Raises what the cluster raises."""
    plan, cluster = frozen.plan, clients_in(place_of(frozen.plan)).cluster
    canary, stable = (
        tuple(seen_pods(pods_of(cluster, plan.pool_of(side)))) for side in (plan.canary, plan.stable)
    )
    moved = [cluster.find(target.api, target.kind, target.name) for target in frozen.targets]
    events = [event for obj in moved if obj for event in cluster.events_about(obj)]
    return Surroundings(canary, stable, tuple(own_events(events, frozen.began)))


def own_events(events: Sequence[K8sObject], since: float) -> list[Happening]:
    """What we ourselves told of what moves, since the run began."""
    told = []
    for event in events:
        at = moment(event.get("lastTimestamp")) or moment(event.get("eventTime"))
        if part(event, "source").get("component") == OWNER and at is not None and at >= since - 1:
            kind = "warning" if event.get("type") == "Warning" else "event"
            text = f"{event.get('reason', '')}: {event.get('message', '')}"
            told.append(Happening(time=at, kind=kind, text=text))
    return told
