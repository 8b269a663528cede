"""What the cluster remembers of a plan's versions: in a ConfigMap beside what the plan moves.

How a rollout ended is written on the object that it lets go, in the very patch that lets it go. From there it
is remembered by whoever ended it, or by the next rollout before it claims the object; until then both count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from pydantic import ValidationError

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, NotFound
from inference_rollouts.core.objects.k8s import K8sObject, part
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.routing.claim import Ending, LastEnding, read_ending
from inference_rollouts.core.routing.patches import Patch
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.versions.memory import WORDS, Allowed, Became, Fate, Memory
from inference_rollouts.core.versions.version import Version, parse_version
from inference_rollouts.rollout.writer import Writer

KEY = "memory"

log = logging.getLogger(__name__)

Change = Callable[[Memory], Memory]

_BECAME = {Ending.PROMOTED: Became.PROMOTED, Ending.RESTORED: Became.ROLLED_BACK}


def memory_target(plan: str) -> Target:
    """The ConfigMap that remembers what became of a plan's versions."""
    return Target("v1", "ConfigMap", f"inference-rollouts.{plan}")


def read_memory(cluster: Cluster, plan: str, objects: Iterable[K8sObject] = ()) -> Memory:
    """What became of a plan's versions; what `objects` tell of their last rollout counts too.

    Raises ClusterRefused where somebody has edited it so that nobody can read it.
    """
    target = memory_target(plan)
    stored = cluster.find(target.api, target.kind, target.name)
    endings = (read_ending(obj) for obj in objects)
    told = (fate for last in endings if last and last.plan == plan and (fate := _fate(last)))
    return (_memory_of(stored) if stored else Memory()).with_(told)


def allow(cluster: Cluster, plan: str, known: Memory, version: Version, allowed: Allowed) -> None:
    """Let a version that was rolled back be rolled out again; `known` is all that is known of the plan's."""
    _change(Writer(cluster), plan, lambda memory: memory.with_(known.fates).allow(version, allowed))


def settle_version(writer: Writer, target: Target) -> None:
    """Remember what an object tells of its last rollout. Best effort: whoever comes next tries again."""
    try:
        obj = writer.find(target)
        last = read_ending(obj) if obj else None
        if last and (fate := _fate(last)):
            _change(writer, last.plan, lambda memory: memory.with_([fate]))
    except Exception as error:
        log.warning("what became of the version on %s is remembered there alone: %s", target, error)


def _fate(last: LastEnding) -> Fate | None:
    version = parse_version(last.version)
    if version is None or not last.plan:
        return None
    became = Became.ROLLED_BACK if last.undone else _BECAME[last.ending]
    return Fate(version=version, became=became, run=last.run, at=last.at, why=last.why[:WORDS])


def _change(writer: Writer, plan: str, change: Change) -> None:
    """Write what changes of the memory; nobody else's write between is lost."""
    target = memory_target(plan)

    def decide(obj: K8sObject) -> Patch:
        before = _memory_of(obj)
        after = change(before)
        if after == before:
            return []
        data = [] if part(obj, "data") else [{"op": "add", "path": "/data", "value": {}}]
        return [
            {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": obj["metadata"]["resourceVersion"],
            },
            *data,
            {"op": "add", "path": f"/data/{KEY}", "value": after.model_dump_json()},
        ]

    try:
        writer.write(target, decide)
    except NotFound:
        meta = {"name": target.name, "labels": owner_labels(plan)}
        writer.cluster.apply({"apiVersion": target.api, "kind": target.kind, "metadata": meta})
        writer.write(target, decide)


def _memory_of(obj: K8sObject) -> Memory:
    text = part(obj, "data").get(KEY)
    try:
        return Memory.model_validate_json(text) if text else Memory()
    except ValidationError as error:
        raise ClusterRefused(
            f"ConfigMap {obj['metadata']['name']} is unreadable, so nobody knows which versions were rolled "
            f"back; nothing was written. Correct its `{KEY}`, or delete it to forget all of them."
        ) from error
