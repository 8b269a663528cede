"""The objects a lab starts with, as Google's guide to the GKE Inference Gateway leaves a cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from lab.kube.client import Kube, KubeError
from lab.kube.objects import Obj, path_of_object
from lab.scope import HOME, LAB

MANAGER = "lab"
FILES = ("nodes.yaml", "serving.yaml", "gateway.yaml")


def initial_objects(namespace: str = HOME, lab: str | None = None) -> list[Obj]:
    """The objects, in the order in which they should be created; labelled as those of `lab`, if given."""
    folder = Path(__file__).parent
    objects = [obj for name in FILES for obj in yaml.safe_load_all((folder / name).read_text())]
    for obj in objects:
        if "namespace" in obj["metadata"]:
            obj["metadata"]["namespace"] = namespace
        if lab:
            obj["metadata"].setdefault("labels", {})[LAB] = lab
        for container in obj["spec"]["template"]["spec"]["containers"] if obj["kind"] == "Deployment" else ():
            container["args"] = [each.replace(f"={HOME}", f"={namespace}") for each in container["args"]]
    return objects


async def apply(kube: Kube, namespace: str = HOME, lab: str | None = None, patience: float = 30.0) -> None:
    """Apply the initial objects server-side, as often as one likes.

    Waits up to `patience` seconds for an API server, and for kinds, that are not there yet; KubeError
    after that, and at once if an object is refused.
    """
    deadline = asyncio.get_running_loop().time() + patience
    for obj in initial_objects(namespace, lab):
        await _apply_one(kube, obj, deadline)


async def _apply_one(kube: Kube, obj: Obj, deadline: float) -> None:
    while True:
        try:
            await kube.apply({name: part for name, part in obj.items() if name != "status"}, MANAGER)
            if "status" in obj:
                status = {name: part for name, part in obj.items() if name != "spec"}
                await kube.patch(path_of_object(obj, "status"), status, "apply", MANAGER, force=True)
            return
        except KubeError as error:
            missing = error.status in (0, 404, 503)
            if not missing or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.1)
