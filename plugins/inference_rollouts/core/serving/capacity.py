"""Can a pool carry its requests? Those in flight, against what its ready pods run at once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from inference_rollouts.core.objects.readiness import Readiness
from inference_rollouts.core.values import Model

Json = Mapping[str, Any]
PerPod = Annotated[int, Field(ge=1, description="requests that one pod runs at once")]

_MAX_NUM_SEQS = re.compile(r"--max[-_]num[-_]seqs[=\s]+(\d+)")


class Capacity(Model):
    """What pods can carry.

    What the plan does not say, the pods do: `--max-num-seqs` of their own arguments. `per_pod` holds for both
    pools unless `stable_per_pod` is given. The canary is given no more than the share `utilization` of what
    its pods can run; stable, when all goes back to it, may be used in full.
    """

    per_pod: PerPod | None = None
    stable_per_pod: PerPod | None = None
    utilization: Annotated[float, Field(gt=0, le=1)] = 0.8

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
    def of(cls, name: str, pods: Sequence[Json], declared: int | None) -> Pool:
        """Ready pods as they run; of unlike ones `per_pod` is the mean."""
        seats = [declared or max_num_seqs(_arguments(pod)) for pod in pods]
        known = [each for each in seats if each is not None]
        complete = bool(known) and len(known) == len(seats)
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


def max_num_seqs(arguments: Sequence[str]) -> int | None:
    """vLLM's limit of requests that run at once, from a container's arguments; the last one counts."""
    found = _MAX_NUM_SEQS.findall(" ".join(arguments))
    return int(found[-1]) if found else None


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


def raise_readiness(found: Sequence[Room]) -> Readiness:
    """Whether weights may be raised: every pool has room. Says what is lacking, else the figures of all."""
    lacking = [each for each in found if not each.enough]
    return Readiness.when(not lacking, "; ".join(each.message for each in lacking or found))


def _why_counted(load: float | None) -> str:
    if load is None:
        return "counted in pods: the requests in flight are not known"
    if not load:
        return "counted in pods: no request is in flight"
    return "counted in pods: nothing says how many requests one runs at once"


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)


def _arguments(pod: Json) -> list[str]:
    containers = pod["spec"].get("containers") or ()
    return [text for each in containers for key in ("command", "args") for text in each.get(key) or ()]
