"""When it strikes: each moment of a rollout is known by its claim, or by its objects before there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.chaos.arena import CANARY, STABLE, Arena
from inference_rollouts.core.objects.api_groups import WORKLOAD_API
from inference_rollouts.core.routing.claim import Claim, Phase
from inference_rollouts.core.routing.permission import permits

DELAY, JUDGED = 3.0, 3.0  # the plans' initial delay; how far into judging its moment is
LONGEST_JUDGE = {"hasty-asking": 50.0, "patient-asking": 200.0}  # seconds; people may think for longer


@dataclass(frozen=True, slots=True)
class Moment:
    """`reached` says whether it is now. `asks`: of a plan that asks a person; `bad`: of a canary that fails.

    `prepare` is done to the arena when the first weight has moved.
    """

    name: str
    reached: Callable[[Arena, Claim | None], bool]
    asks: bool = False
    bad: bool = False
    prepare: Callable[[Arena], None] | None = None


def _deploys(arena: Arena, claim: Claim | None) -> bool:
    return claim is None and arena.stage.cluster.find(WORKLOAD_API, "Deployment", CANARY) is not None


def _warms_up(arena: Arena, claim: Claim | None) -> bool:
    return claim is not None and claim.step == 0 and not permits(claim)


def _delays(arena: Arena, claim: Claim | None) -> bool:
    return claim is not None and claim.step == 1 and not permits(claim)


def _judges(arena: Arena, claim: Claim | None) -> bool:
    since = DELAY + JUDGED
    return claim is not None and _delays(arena, claim) and time.time() > claim.since + since


def _may_raise(arena: Arena, claim: Claim | None) -> bool:
    return claim is not None and claim.step == 1 and permits(claim)


def _asks(arena: Arena, claim: Claim | None) -> bool:
    """The claim waits longer than the judge would have taken."""
    if claim is None or claim.step != 1 or claim.next_move_by is None:
        return False
    return claim.next_move_by - claim.since > LONGEST_JUDGE[claim.plan] and not permits(claim)


def _may_promote(arena: Arena, claim: Claim | None) -> bool:
    return claim is not None and claim.step == 2 and permits(claim)


def _returns(arena: Arena, claim: Claim | None) -> bool:
    return claim is not None and claim.phase is Phase.RETURNING


def scale_picker(arena: Arena, replicas: int) -> None:
    """Stable's endpoint picker, without which no pool has room for a raise."""
    patch: list[dict[str, Any]] = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
    arena.stage.cluster.patch(WORKLOAD_API, "Deployment", f"{STABLE}-epp", patch)


MOMENTS = {
    moment.name: moment
    for moment in (
        Moment("deploy", _deploys),
        Moment("warm-up", _warms_up),
        Moment("initial delay", _delays),
        Moment("judge", _judges),
        Moment("wait for room", _may_raise, prepare=lambda arena: scale_picker(arena, 0)),
        Moment("ask", _asks, asks=True),
        Moment("raise", _may_raise),
        Moment("promote", _may_promote),
        Moment("rollback", _returns, bad=True),
    )
}
