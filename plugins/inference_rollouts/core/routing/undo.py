"""Undoing a promotion: all traffic back to the pool of before at once, watched by guardrails.

It is a rollout in reverse, of one step that gives everything: what served before is its canary. All objects
are claimed before the first one moves, so that whoever finds some of them left behind knows of it. An alarm
sends all traffic to the promoted pool again, as does a move that was not finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference_rollouts.core.durations import spoken
from inference_rollouts.core.errors import CommandRefused
from inference_rollouts.core.limits import UNDO_WATCH
from inference_rollouts.core.objects.k8s import K8sObject, title_of
from inference_rollouts.core.routing.claim import (
    Claim,
    Command,
    Ending,
    LastEnding,
    Owner,
    Phase,
    place_of,
    read_claim,
    read_ending,
)
from inference_rollouts.core.routing.drift import untouched
from inference_rollouts.core.routing.weights import target_of

PROMPTLY = 1.0  # seconds after its watch in which it is to be completed


@dataclass(frozen=True, slots=True)
class Promoted:
    """An object, and the last claim of the promotion that let it go."""

    obj: K8sObject
    claim: Claim


def promoted(objects: Sequence[K8sObject], name: str) -> list[Promoted]:
    """What the last promotion of a plan, or of the object of this name, let go.

    Raises CommandRefused where nothing was promoted, or it cannot be undone.
    """
    endings = [(obj, last) for obj in objects if (last := read_ending(obj))]
    of_name = [
        _promotion(last)
        for obj, last in sorted(endings, key=lambda each: each[1].at)
        if name in (*target_of(obj).names, last.claim.plan if last.claim else "")
    ]
    if not of_name:
        raise CommandRefused(
            f"No promotion of {name} is remembered, so none can be undone. Nothing was changed."
        )
    return [undoable(obj, of_name[-1]) for obj, last in endings if _promotion(last) == of_name[-1]]


def _promotion(last: LastEnding) -> str:
    """The token of the promotion that can be undone; of what else ended there if none can."""
    return last.claim.token if last.claim else last.token


def require_room(old: Promoted, pods: int, wrong: str) -> None:
    """Raises CommandRefused unless the pool of before, with so many ready pods, can carry everything again.

    `wrong` is what else keeps it from taking traffic; empty where nothing does.
    """
    claim, guard = old.claim, old.claim.guard
    if guard is None or guard.stable_pool == guard.canary_pool:
        raise CommandRefused(
            f"{claim.stable} is an adapter, and whether each pod still has it only the warm-up of a rollout "
            f"proves: start one with stable {claim.canary} and canary {claim.stable}. Nothing was changed."
        )
    if wrong or pods < guard.pods:
        raise CommandRefused(
            f"{claim.stable} cannot carry all traffic, as it did with {guard.pods} ready pods: "
            f"{wrong or f'it has {pods} now.'} {claim.canary} keeps it. "
            f"Scale {claim.stable} up first, or start a rollout to it."
        )


def undoing(old: Promoted, command: Command, token: str, pods: int) -> Claim:
    """The claim under which the pool of before gets everything. `pods` are ready in the promoted one.

    Raises RouteDrift where others have changed the weights since the promotion.
    """
    was, guard = old.claim, old.claim.guard
    assert guard  # require_room
    places = tuple(place_of(old.obj, each.path) for each in untouched(old.obj, was))
    swapped = guard.model_copy(
        update={
            "stable_pool": guard.canary_pool,
            "canary_pool": guard.stable_pool,
            "stable": guard.canary,
            "canary": guard.stable,
            "pods": pods,
        }
    )
    return Claim(
        token=token,
        owner=Owner(run=undoing_of(was.owner.run), dag=was.owner.dag, airflow=was.owner.airflow),
        plan=was.plan,
        kind=was.kind,
        digest=was.digest,
        began=command.at,
        stable=was.canary,
        canary=was.stable,
        steps=1,
        step=1,
        percent=0,
        places=places,
        since=command.at,
        next_move_by=command.at + UNDO_WATCH,
        abandon_after=PROMPTLY,
        command=command,
        guard=swapped,
        undo=True,
        version=was.version,
    )


def undoing_of(run: str) -> str:
    """What the undo of a promotion by this run calls itself."""
    return f"undo of {run}"


def is_undone(claims: Sequence[Claim]) -> bool:
    """Whether these undo a promotion, all of it, and no alarm or person has sent them back."""
    back = (claim.undo and claim.percent == 100 and claim.phase is not Phase.RETURNING for claim in claims)
    return bool(claims) and all(back)


def undone(claim: Claim) -> str:
    """What happens to the traffic now, in sentences."""
    return (
        f"All traffic goes from {claim.stable} back to {claim.canary}. Guardrails watch it for "
        f"{spoken(UNDO_WATCH)}: an alarm sends it to {claim.stable} again, else it stays."
    )


def undoable(obj: K8sObject, token: str) -> Promoted:
    """An object as the promotion with this token left it. Raises CommandRefused where it is so no more."""
    last, unchanged = read_ending(obj), "Nothing was changed."
    if read_claim(obj) is not None:
        raise CommandRefused(f"A rollout moves {title_of(obj)} now: abort that one. {unchanged}")
    if last is None or _promotion(last) != token or (last.claim is None and last.ending is Ending.RESTORED):
        raise CommandRefused(f"The last rollout of {title_of(obj)} went back already. {unchanged}")
    if last.claim is None:
        raise CommandRefused(
            f"{title_of(obj)} does not say how it was before: it has too many rules, or was promoted by an "
            f"earlier version. Start a rollout to what served before. {unchanged}"
        )
    if last.claim.undo:
        raise CommandRefused(
            f"The promotion of {title_of(obj)} was undone already: to get {last.claim.stable} again, start a "
            f"rollout. {unchanged}"
        )
    return Promoted(obj, last.claim)
