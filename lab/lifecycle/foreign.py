"""A lab in a cluster that is not ours: what it must not take over, what it adds, what it takes away again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.cluster.initial import initial_objects
from lab.kube.client import Kube, KubeError
from lab.kube.clock import age, now
from lab.kube.conditions import is_true
from lab.kube.kubeconfig import minified
from lab.kube.objects import RESOURCES, Obj, path_of, path_of_object
from lab.scope import LAB, REPLACEABLE

DEFINITIONS = Path(__file__).parents[1] / "crds"
MADE = (
    "HTTPRoute",
    "InferencePool",
    "InferenceObjective",
    "InferenceModelRewrite",
    "Gateway",
    "Service",
    "Deployment",
    "ServiceAccount",
    "Event",
)
PATIENCE = 30.0


class ForeignError(Exception):
    """The cluster cannot take a lab; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A cluster by its kubeconfig; by default in its current context, and in the context's namespace."""

    kubeconfig: Path
    context: str | None = None
    namespace: str | None = None


def read_foreign(cluster: Foreign) -> dict[str, Any]:
    """The kubeconfig of the cluster alone, with everything it needs inside; ForeignError if it is no good."""
    try:
        return minified(cluster.kubeconfig, cluster.context, cluster.namespace)
    except (OSError, ValueError) as error:
        raise ForeignError(f"no cluster: {error}") from error


async def survey(kube: Kube, namespace: str, lab: str) -> list[str]:
    """Which of REPLACEABLE the cluster runs itself; reads only.

    Raises ForeignError where an object is there already that the lab would make.
    """
    try:
        await _refuse_others(kube, namespace, lab)
        return [name for name in REPLACEABLE if await _runs(kube, name)]
    except KubeError as error:
        raise ForeignError(f"no lab can be in {kube.endpoint.server}: {error}") from error


async def join(kube: Kube, namespace: str, lab: str, running: Sequence[str]) -> None:
    """Make what the initial objects of `lab` need and is absent: definitions, namespace, service account."""
    labels = {LAB: lab}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    metadata = {"name": "default", "namespace": namespace, "labels": labels}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    try:
        for definition in _definitions():
            await _install(kube, definition, lab)
        await _ensure(kube, space)
        if "controller-manager" not in running:
            await _ensure(kube, account)
    except KubeError as error:
        raise ForeignError(f"{kube.endpoint.server} refuses the lab: {error}") from error


async def _refuse_others(kube: Kube, namespace: str, lab: str) -> None:
    for obj in initial_objects(namespace):
        live = await _find(kube, path_of_object(obj))
        owner = (live["metadata"].get("labels") or {}).get(LAB) if live else lab
        if owner != lab:
            whose = f"belongs to another lab ({LAB}={owner})" if owner else "was not made by a lab"
            raise ForeignError(f"{obj['kind']} {obj['metadata']['name']} is there already and {whose}")


async def _runs(kube: Kube, component: str) -> bool:
    """Whether a component of the control plane holds its lease."""
    lease = await _find(kube, path_of("Lease", "kube-system", f"kube-{component}"))
    spec = (lease or {}).get("spec", {})
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return False
    return age(spec["renewTime"], now()) < 4.0 * int(spec.get("leaseDurationSeconds", 15))


def _definitions() -> list[Obj]:
    texts = (path.read_text() for path in sorted(DEFINITIONS.glob("*.yaml")))
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


async def _install(kube: Kube, definition: Obj, lab: str) -> None:
    """Create a definition where it is absent; ForeignError where what is there lacks the lab's version."""
    definition["metadata"].setdefault("labels", {})[LAB] = lab
    path = path_of_object(definition)
    live = await _find(kube, path)
    if live is None:
        await _ensure(kube, definition)
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while live is None or not is_true(live, "Established"):
        if asyncio.get_running_loop().time() > deadline:
            raise ForeignError(f"{definition['metadata']['name']} is not established after {PATIENCE:.0f} s")
        await asyncio.sleep(0.05)
        live = await _find(kube, path)
    kind = definition["spec"]["names"]["kind"]
    served = {version["name"] for version in live["spec"]["versions"] if version["served"]}
    wanted = RESOURCES[kind].api_version.rpartition("/")[2] if kind in RESOURCES else None
    if wanted and wanted not in served:
        raise ForeignError(f"the cluster's {kind} serves {', '.join(sorted(served))}, the lab needs {wanted}")


async def _ensure(kube: Kube, obj: Obj) -> None:
    if await _find(kube, path_of_object(obj)):
        return
    try:
        await kube.create(path_of(obj["kind"], obj["metadata"].get("namespace")), obj, fieldManager="lab")
    except KubeError as error:
        if error.status != 409:
            raise


async def _find(kube: Kube, path: str) -> Obj | None:
    try:
        return await kube.get(path)
    except KubeError as error:
        if error.status == 404:
            return None
        raise


async def leave(kube: Kube, namespace: str, lab: str) -> list[str]:
    """Remove what `lab` made, once its processes have ended; returns what stays because others use it.

    What rollouts or people made stays, but for their pods on the lab's nodes, which go with the nodes. A
    namespace that the lab made goes with all that is in it.
    """
    selector = f"{LAB}={lab}"
    space = await _find(kube, path_of("Namespace", None, namespace))
    ours = space is not None and (space["metadata"].get("labels") or {}).get(LAB) == lab
    nodes = {node["metadata"]["name"] for node in await _list(kube, path_of("Node"), selector)}
    for kind in _kinds() if ours else MADE:
        await _remove(kube, await _list(kube, path_of(kind, namespace), None if ours else selector))
    await _remove_orphans(kube, namespace, nodes, "ReplicaSet", "Deployment")
    await _remove_orphans(kube, namespace, nodes, "Pod", "ReplicaSet")
    for name in sorted(nodes):
        await _delete(kube, path_of("Lease", "kube-node-lease", name))
    for kind in ("Node", "GatewayClass"):
        await _remove(kube, await _list(kube, path_of(kind), selector))
    if ours:
        await _remove_namespace(kube, namespace)
    return await _remove_definitions(kube, selector)


def _kinds() -> list[str]:
    """Every kind known that lives in namespaces, but for those that follow their owners."""
    return [
        kind
        for kind, resource in RESOURCES.items()
        if resource.namespaced and kind not in ("ReplicaSet", "Pod")
    ]


async def _remove_orphans(kube: Kube, namespace: str, nodes: set[str], kind: str, owner_kind: str) -> None:
    """Delete the objects whose owner has gone, and the pods whose node is about to go."""
    living = {owner["metadata"]["uid"] for owner in await _list(kube, path_of(owner_kind, namespace))}

    def is_lost(obj: Obj) -> bool:
        owners = [each for each in obj["metadata"].get("ownerReferences") or [] if each["kind"] == owner_kind]
        orphaned = bool(owners) and not any(each["uid"] in living for each in owners)
        return orphaned or obj["spec"].get("nodeName") in nodes

    lost = [obj for obj in await _list(kube, path_of(kind, namespace)) if is_lost(obj)]
    await _remove(kube, lost, gracePeriodSeconds=0)


async def _remove_definitions(kube: Kube, selector: str) -> list[str]:
    """Delete the definitions that the lab installed; returns those of which objects are left."""
    kept, going = [], []
    for definition in await _list(kube, path_of("CustomResourceDefinition"), selector):
        spec, name = definition["spec"], definition["metadata"]["name"]
        version = next(each["name"] for each in spec["versions"] if each["storage"])
        if await _list(kube, f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"):
            kept.append(name)
        else:
            await _remove(kube, [definition])
            going.append(path_of_object(definition))
    await _until_gone(kube, going)
    return kept


async def _until_gone(kube: Kube, paths: Sequence[str]) -> None:
    """Wait up to PATIENCE until none of these objects exists; their deletion is accepted already."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while any([await _find(kube, path) for path in paths]):
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.1)


async def _remove_namespace(kube: Kube, name: str) -> None:
    """Delete an emptied namespace; where no controller does, take the finalizer off that waits for one."""
    path = path_of("Namespace", None, name)
    await _delete(kube, path)
    if not await _runs(kube, "controller-manager") and (left := await _find(kube, path)):
        left["spec"] = {**left.get("spec", {}), "finalizers": []}
        try:
            await kube.replace(f"{path}/finalize", left)
        except KubeError as error:
            if error.status not in (404, 409):
                raise


async def _list(kube: Kube, path: str, selector: str | None = None) -> list[Obj]:
    try:
        return await kube.list(path, **({"labelSelector": selector} if selector else {}))
    except KubeError as error:
        if error.status == 404:
            return []
        raise


async def _remove(kube: Kube, objects: list[Obj], **options: Any) -> None:
    for obj in objects:
        guard = {"preconditions": {"uid": obj["metadata"]["uid"]}, "propagationPolicy": "Background"}
        await _delete(kube, path_of_object(obj), **guard, **options)


async def _delete(kube: Kube, path: str, **options: Any) -> None:
    try:
        await kube.delete(path, **options)
    except KubeError as error:
        if error.status not in (404, 409):
            raise
