"""Can a pool carry its requests? Those in flight, against what its ready pods run at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Readiness
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.values import Model

PerPod = Annotated[int, Field(ge=1)]
"""Requests that one pod runs at once."""


class Capacity(Model):
    """What pods can carry."""

    per_pod: PerPod | None = None
    """Requests that one pod runs at once, in both pools. Default: what `--max-num-seqs` of each pod's own
    arguments says."""
    stable_per_pod: PerPod | None = None
    """The same of stable's pods alone. Default: `per_pod`."""
    utilization: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The share of what the canary's pods can run that it may be given; stable, when all goes back to it,
    may be used in full. Default: 0.8, which leaves room for bursts."""

    keep_stable: bool = True
    """Whether the floor of stable's autoscaler is raised to the pods it has, while a rollout runs. Default:
    yes, so that all traffic can go back at any time."""

    @property
    def declared_stable(self) -> int | None:
        return self.stable_per_pod or self.per_pod


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool's pods, and how many requests each runs at once; None: not known."""

    name: str
    pods: int
    per_pod: float | None

    @classmethod
    def of(cls, name: str, pods: Sequence[K8sObject], declared: int | None) -> Pool:
        """Ready pods as they run; of unlike ones `per_pod` is the mean."""
        limits = [declared or vllm.max_num_seqs(vllm.arguments_of(pod)) for pod in pods]
        known = [each for each in limits if each is not None]
        complete = bool(known) and len(known) == len(limits)
        return cls(name, len(pods), sum(known) / len(known) if complete else None)


@dataclass(frozen=True, slots=True)
class Room:
    """How many pods a pool needs for its requests; `figures` follow the number of its pods in a sentence."""

    pool: Pool
    needed: int
    figures: str

    @property
    def enough(self) -> bool:
        return self.pool.pods >= self.needed

    @property
    def message(self) -> str:
        count = self.pool.pods
        return f"{self.pool.name} has {count or 'no'} ready pod{'' if count == 1 else 's'}{self.figures}"


@dataclass(frozen=True, slots=True)
class RoomAhead:
    """Why a step may not pass, as the pools could not carry the next one; what should be known besides."""

    blockers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def room(pool: Pool, percent: int, load: float | None, use: float, usual: float) -> Room:
    """Room in a pool for `percent` % of `load` requests in flight, using the share `use` of its pods.

    Where load or pods are unknown, or nothing is in flight, pods are counted: `usual` carry all requests.
    """
    if not pool.pods:
        return Room(pool, 1, "")
    if not load or pool.per_pod is None:
        needed = max(1, _ceil(usual * percent / 100))
        return Room(pool, needed, f", {needed} needed for {percent} % of the requests ({_why_counted(load)})")
    part, allowed = load * percent / 100, pool.per_pod * use
    each = f"{part / pool.pods:.0f} each, {allowed:.0f} allowed"
    figures = f" for {percent} % of {load:.0f} requests in flight: {each}"
    return Room(pool, max(1, _ceil(part / allowed)), figures)


def rooms(
    limits: Capacity, stable: Pool, canary: Pool, percent: int, load: float | None, usual: int
) -> tuple[Room, Room]:
    """Room for all requests in stable, and for `percent` % of them in the canary.

    `usual` is how many pods stable had at preflight, when it carried everything.
    """
    alike = stable.per_pod / canary.per_pod if stable.per_pod and canary.per_pod else 1.0
    return (
        room(stable, 100, load, 1.0, usual),
        room(canary, percent, load, limits.utilization, usual * alike),
    )


def raise_readiness(rooms: Sequence[Room]) -> Readiness:
    """Whether weights may be raised: every pool has room. Says what is lacking, else the figures of all."""
    lacking = [each for each in rooms if not each.enough]
    return Readiness.when(not lacking, "; ".join(each.message for each in lacking or rooms))


def _why_counted(load: float | None) -> str:
    if load is None:
        return "counted in pods: the requests in flight are not known"
    if not load:
        return "counted in pods: no request is in flight"
    return "counted in pods: nothing says how many requests one runs at once"


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)
