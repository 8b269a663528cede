"""Keeping stable's autoscaler from shrinking it while a rollout runs, and letting it again afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClaimUnreadable, Forbidden, NotFound
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import K8sObject, annotations_of, part
from inference_rollouts.core.objects.workload_kinds import replicas_of
from inference_rollouts.core.routing import floors, patches
from inference_rollouts.core.routing.claim import CLAIM, Floor, read_claim, read_ending
from inference_rollouts.core.routing.floors import SCALERS
from inference_rollouts.core.routing.patches import Patch
from inference_rollouts.core.routing.weights import Target, target_of
from inference_rollouts.rollout.targets import claimable_objects, find_pool
from inference_rollouts.rollout.workloads import chosen_by, workloads_of
from inference_rollouts.rollout.writer import Decide, Writer

log = logging.getLogger(__name__)


def find_floors(cluster: Cluster, stable: str, pods: int) -> tuple[Floor, ...]:
    """The floors that would let an autoscaler make pool `stable` smaller than `pods`.

    Of several workloads behind it each keeps the size that it has now.
    """
    if not (scalers := list(_scalers(cluster))) or not (pool := find_pool(cluster, stable)):
        return ()
    workloads = chosen_by(pod_labels(pool), workloads_of(cluster)[0])
    alone = len(workloads) == 1
    return tuple(
        floor
        for each in workloads
        for floor in floors.floors_to_raise(scalers, each, pods if alone else replicas_of(each))
    )


def raise_floors(cluster: Cluster, wanted: Iterable[Floor], is_claimed: Callable[[], bool]) -> None:
    """Raise floors that are on the claim already. What cannot be raised is logged: the rollout goes on.

    Who was stopped for long raises nothing that the end of the rollout has put back: nobody would remember
    it. Whether anything `is_claimed` is asked after the autoscaler was read.
    """

    def decide(floor: Floor, obj: K8sObject) -> Patch:
        patch = floors.raise_patch(obj, floor)
        return patch if patch and is_claimed() else []

    for floor in wanted:
        try:
            if live := _write(cluster, floor, partial(decide, floor)):
                now = "unset" if floor.held is None else floor.held
                cluster.event(live, "FloorRaised", f"to {now} while a rollout runs, from {floor.found}")
        except Exception as error:
            log.warning("could not raise the floor of %s %s: %s", floor.kind, floor.name, error)


def lowered_floors(cluster: Cluster, wanted: Iterable[Floor]) -> list[str]:
    """A sentence for each floor that somebody has set lower again, as far as that can be seen."""
    return [words for floor in wanted if (words := _lowered(cluster, floor))]


def settle_floors(writer: Writer, target: Target) -> None:
    """Put back the floors that a rollout which let an object go still owes; they are remembered until then.

    Others may count on them: an object that is claimed anew owes them until it is let go, and so does one
    while a rollout of others has the same stable pool. It is best effort: the traffic is where it should be,
    and whoever comes next tries again.
    """
    try:
        _settle(writer, target)
    except Exception as error:
        log.warning("the floors that %s remembers are not back yet: %s", target, error)


def settle_others(writer: Writer, ours: Collection[Target]) -> None:
    """The same of what other rollouts let go: the end of this one may be what their floors waited for."""
    try:
        objects = claimable_objects(writer.cluster)
    except Exception as error:
        log.info("whether others owe floors is not to be seen: %s", error)
        return
    for obj in objects:
        target, last = target_of(obj), read_ending(obj)
        if last and last.floors and target not in ours:
            settle_floors(writer, target)


def _settle(writer: Writer, target: Target) -> None:
    obj = writer.find(target)
    last = read_ending(obj) if obj and CLAIM not in annotations_of(obj) else None
    if last is None or not last.floors or _is_counted_on(writer.cluster, last.floors):
        return
    for floor in last.floors:
        _put_back(writer.cluster, floor)

    def forget(obj: K8sObject) -> Patch:
        return patches.settled_patch(obj, last) if read_ending(obj) == last else []

    writer.write(target, forget)


def _put_back(cluster: Cluster, floor: Floor) -> None:
    """A floor as it was found, which nobody raises any more. Who may not write has not raised it either."""
    was_raised = False

    def decide(obj: K8sObject) -> Patch:
        nonlocal was_raised
        was_raised = was_raised or floors.is_raised(obj, floor)
        return floors.put_back_patch(obj, floor)

    try:
        live = _write(cluster, floor, decide)
        _write(cluster, floor, floors.unmark_patch)
    except Forbidden:
        if was_raised:
            raise
        return
    if live and was_raised:
        cluster.event(live, "FloorPutBack", f"to {floor.found}, as it was before the rollout")


def _is_counted_on(cluster: Cluster, owed: Iterable[Floor]) -> bool:
    """Whether one of these floors is of an autoscaler of what is stable to a rollout in flight."""
    pools = [find_pool(cluster, name) for name in _stable_pools(cluster)]
    workloads = workloads_of(cluster)[0] if pools else []
    counted = {
        each["metadata"]["name"] for pool in pools if pool for each in chosen_by(pod_labels(pool), workloads)
    }
    scalers = (cluster.find(floor.api, floor.kind, floor.name) for floor in owed if counted)
    return any(part(live, "spec", "scaleTargetRef").get("name") in counted for live in scalers)


def _stable_pools(cluster: Cluster) -> set[str]:
    """Those of all rollouts in flight."""
    pools = set()
    for obj in claimable_objects(cluster):
        with suppress(ClaimUnreadable):
            if (claim := read_claim(obj)) and claim.guard:
                pools.add(claim.guard.stable_pool)
    return pools


def _lowered(cluster: Cluster, floor: Floor) -> str:
    try:
        live = cluster.find(floor.api, floor.kind, floor.name)
    except Exception as error:
        log.warning("could not see the floor of %s %s: %s", floor.kind, floor.name, error)
        return ""
    return floors.lowered(live, floor) if live else ""


def _scalers(cluster: Cluster) -> Iterator[K8sObject]:
    for kind in SCALERS:
        if cluster.serves(kind.api, kind.kind):
            yield from cluster.select(kind.api, kind.kind)


def _write(cluster: Cluster, floor: Floor, decide: Decide) -> K8sObject | None:
    """The autoscaler after it was written; None where there was nothing to write, or it is gone."""
    try:
        written = Writer(cluster).write(Target(floor.api, floor.kind, floor.name), decide)
    except NotFound:
        return None
    return written.obj if written.wrote else None
