"""Undoing a promotion, by what it left on the objects alone; and the end of that."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import CommandRefused, RouteDrift
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.claim import Command, What, read_claim, read_ending
from inference_rollouts.core.routing.control import command_of
from inference_rollouts.core.routing.drift import own_claim
from inference_rollouts.core.routing.patches import Patch, attach_patch, commit_patch, shift_patch
from inference_rollouts.core.routing.permission import require_progressing
from inference_rollouts.core.routing.undo import (
    Promoted,
    promoted,
    require_room,
    undoable,
    undoing,
    undoing_of,
    undone,
)
from inference_rollouts.core.routing.weights import target_of
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.targets import claimable_objects
from inference_rollouts.rollout.way_back import WayBack
from inference_rollouts.rollout.writer import Writer


def undo(cluster: Cluster, name: str, who: str, why: str) -> str:
    """Send all traffic back to what served before the last promotion of a plan, or of an object.

    All objects of the rollout move, or none. Returns what happens now, in sentences. Raises CommandRefused
    where it cannot be undone, RouteDrift where others have changed the weights since, ClaimLost where it is
    sent back meanwhile.
    """
    every = promoted(claimable_objects(cluster), name)
    [first, *_] = every
    pods, command = _permitted(cluster, first, who, why)
    token, writer = secrets.token_hex(16), Writer(cluster)
    way_back = WayBack(writer, [target_of(each.obj) for each in every], token)

    def claimed(obj: K8sObject) -> Patch:
        if (found := read_claim(obj)) and found.token == token:
            return []
        return attach_patch(obj, undoing(undoable(obj, first.claim.token), command, token, pods))

    def moved(obj: K8sObject) -> Patch:
        claim = own_claim(obj, token)
        require_progressing(obj, claim)
        return [] if claim.percent else shift_patch(obj, claim, claim.with_(percent=100))

    try:
        for target in way_back.targets:
            writer.write(target, claimed)
        _permitted(cluster, first, who, why)  # again: only from now on the claims keep it from being retired
        for target in way_back.targets:
            written = writer.write(target, moved)
            claim = own_claim(written.obj, token)
            writer.tell(written.obj, "Undone", f"{undone(claim)} By {command}", warning=True)
    except Exception:
        way_back.restore("another object could not go back", cluster.time())
        raise
    finally:
        writer.tell_all()
    return undone(claim)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What can become of a promotion, in sentences: `offer`, what an undo would do now, empty where it would
    be refused; `undone`, that it was undone or is being, empty where nobody did."""

    offer: str = ""
    undone: str = ""


def aftermath_of(cluster: Cluster, name: str, run: str, token: str) -> Aftermath:
    """Of the promotion by the run with this token, of the plan `name`. Raises what the cluster raises."""
    objects = claimable_objects(cluster)
    told = next(filter(None, (_undone_by(obj, undoing_of(run)) for obj in objects)), "")
    try:
        [first, *_] = every = promoted(objects, name)
        if first.claim.token != token:
            return Aftermath(undone=told)
        pods, command = _permitted(cluster, first, "somebody", "")
        claims = [undoing(each, command, token, pods) for each in every]
    except (CommandRefused, RouteDrift):
        return Aftermath(undone=told)
    return Aftermath(undone(claims[0]), told)


def _permitted(cluster: Cluster, first: Promoted, who: str, why: str) -> tuple[int, Command]:
    """The ready pods of the promoted pool, and the command. Raises CommandRefused, also where the pool of
    before has no room."""
    guard = first.claim.guard
    before = availability_of(cluster, guard.stable_pool if guard else first.claim.stable)
    require_room(first, before.pods, "" if before.available else before.sentence)
    pods = availability_of(cluster, guard.canary_pool).pods if guard else 0
    return pods, command_of(What.UNDO, who, why, [first.claim], cluster.time())


def _undone_by(obj: K8sObject, run: str) -> str:
    """How the undo that calls itself so stands, or ended, on this object; empty where it was not there."""
    claim, last = read_claim(obj), read_ending(obj)
    if claim and claim.owner.run == run:
        return f"undone by {claim.command}; guardrails watch it"
    if last and last.run == run:
        return f"undone by {last.commands[-1]}" if last.undone else f"an undo was sent back: {last.why}"
    return ""


def complete(way_back: WayBack, now: float) -> None:
    """The guardrails saw nothing: it stays so. Raises RouteDrift where others changed the weights."""
    for target in way_back.targets:
        way_back.writer.write(target, partial(_committed, way_back.token))
    way_back.restore("", now)


def _committed(token: str, obj: K8sObject) -> Patch:
    claim = read_claim(obj)
    if claim is None or claim.token != token or claim.committed:
        return []
    return commit_patch(obj, claim)
