"""A lab as it began, and the way back there, so that tests can share one and know nothing of each other."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TypeVar

import requests

from bench.stage import ROUTE, Stage, until
from inference_rollouts.core.objects.ownership import OWNER, PLAN_LABEL
from inference_rollouts.rollout.run import Run
from lab.cluster.initial import MANAGER
from lab.gateway.picker.load import SAMPLE, parse
from lab.kube.client import Kube, KubeError
from lab.kube.conditions import is_true
from lab.kube.objects import Obj, path_of, path_of_object
from lab.lifecycle import health
from lab.loadgen.client import PATIENCE
from lab.loadgen.log import read_log
from lab.loadgen.record import OK
from lab.model_server.faults import Fault
from lab.scope import HOME, LAB

T = TypeVar("T")

STABLE = "llm-pool"
KINDS = (  # what tests change, in the order in which it is taken away
    "HTTPRoute",
    "InferenceModelRewrite",
    "InferenceObjective",
    "InferencePool",
    "Gateway",
    "Deployment",
    "Service",
    "ConfigMap",
    "ComputeClass",
    "Node",
)
WRITTEN_BY_OTHERS = ("Node",)  # kubelets write to their specs: only which there are counts
OURS = "inference-rollouts.dev/"
DRAINED = 180.0  # seconds; a pod may take two minutes to end


class SharedLab:
    """A lab, and what it held when it was fresh: objects, and the names that its stable pods answer for.

    `lost` and `events` are what came since the last reset.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._objects = self._run(_contents)
        self._names = self._served()
        self._begin()

    @property
    def lost(self) -> dict[str, int]:
        """What clients saw fail, by cause."""
        return dict(self._failures() - self._lost)

    @property
    def losses(self) -> list[str]:
        """The requests that failed, each as the clients' log has it, once that is written."""
        log = self.stage.directory.path / "loadgen"
        return [each.line() for each in read_log(log, self._since) if each.outcome != OK]

    @property
    def events(self) -> list[str]:
        """Reasons of the Events that rollouts wrote, in order."""
        return self._told()[self._events :]

    def set_weights(self, weights: dict[str, int], manager: str) -> None:
        """As somebody else does, with a field manager of that name."""

        async def write(kube: Kube, _: str | None) -> None:
            rules = self.stage.route()["spec"]["rules"]
            for ref in rules[0]["backendRefs"]:
                ref["weight"] = weights[ref["name"]]
            await kube.patch(
                path_of("HTTPRoute", HOME, ROUTE[2]), {"spec": {"rules": rules}}, field_manager=manager
            )

        self._run(write)

    def reset(self, kept: Run | None = None) -> None:
        """Bring the lab back, but for the canary of `kept`, which is deployed where it is not; and prove it.

        AssertionError names what is not as it was.
        """
        self.stage.set_patience(PATIENCE)
        began = self.stage.traffic()
        manifests = kept.frozen.manifests if kept else ()
        paths = {path_of_object(dict(manifest)) for manifest in manifests}
        self._run(partial(_restore, wanted=self._objects, kept=paths))
        self._unload_others()
        if kept:
            self.stage.deploy(kept)
            self.stage.fault(kept.plan.canary, **dict.fromkeys(Fault, 0.0))
        pools = [STABLE, *([kept.plan.canary] if kept else [])]
        until(lambda: self._alone(pools), f"no pods but those of {', '.join(pools)}", DRAINED)
        self._prove(paths)
        self.stage.until_ended(began["sent"] + began["in_flight"])
        self._begin()

    def _begin(self) -> None:
        self._since, self._lost, self._events = time.time(), self._failures(), len(self._told())

    def _prove(self, kept: Collection[str]) -> None:
        """The lab is whole and holds the same objects, and its stable pods answer for the same names."""

        def objects() -> dict[str, Obj]:
            return {path: obj for path, obj in self._run(_contents).items() if path not in kept}

        until(lambda: not asyncio.run(health.problems(dict(self.stage.record), fresh=True)), "a whole lab")
        with suppress(AssertionError):  # what was deleted may take its time
            until(lambda: objects() == self._objects, "the objects")
        assert objects() == self._objects
        assert self._served() == self._names

    def _alone(self, pools: Collection[str]) -> bool:
        """Whether there are no pods but those of these pools; others that are ending are cut short."""
        strangers = self._strangers(pools)
        self._cut_short([pod for pod in strangers if _ends(pod) and _pool(pod) != STABLE])
        return not strangers

    def _strangers(self, pools: Collection[str]) -> list[Obj]:
        """Pods of other pools and their pickers, or not ready, or ending."""
        pods = [(_pool(pod), pod) for pod in map(dict, self.stage.cluster.select("v1", "Pod"))]
        return [
            pod
            for pool, pod in pods
            if pool and (pool not in pools or _ends(pod) or not is_true(pod, "Ready"))
        ]

    def _cut_short(self, pods: Collection[Obj]) -> None:
        """End those that are idle, once the gateway sends nothing there: their preStop hooks help nobody."""

        async def routes(kube: Kube, _: str | None) -> list[Obj]:
            return await _list(kube, "HTTPRoute")

        async def cut(kube: Kube, _: str | None) -> None:
            for pod in idle:
                guard = {"preconditions": {"uid": pod["metadata"]["uid"]}, "gracePeriodSeconds": 0}
                with suppress(KubeError):  # gone meanwhile; if not, it is asked again
                    await kube.delete(path_of_object(pod), **guard)

        if pods and all(map(_is_in_force, self._run(routes))):
            idle = [pod for pod in pods if is_idle(pod)]
            self._run(cut)

    def _served(self) -> list[list[str]]:
        """What each stable pod answers for."""
        servers = self.stage.servers(STABLE)
        return [sorted(each.name for each in self.stage.clients.servers.models(url)) for url in servers]

    def _unload_others(self) -> None:
        for url in self.stage.servers(STABLE):
            for served in self.stage.clients.servers.models(url):
                if served.name not in self._names[0]:
                    self.stage.clients.servers.unload_adapter(url, served.name)

    def _failures(self) -> Counter[str]:
        outcomes = Counter(self.stage.traffic()["totals"]["outcomes"])
        del outcomes["ok"]
        return outcomes

    def _told(self) -> list[str]:
        events = self.stage.cluster.select("v1", "Event")
        ours = [event for event in events if event.get("reportingComponent") == OWNER]
        return [
            event["reason"]
            for event in sorted(ours, key=lambda each: int(each["metadata"]["resourceVersion"]))
        ]

    def _run(self, work: Callable[[Kube, str | None], Awaitable[T]]) -> T:
        """With the lab's own rights; `work` is told how the lab marks its objects in a cluster of others."""

        async def run() -> T:
            async with Kube.from_kubeconfig(self.stage.directory.kubeconfig) as kube:
                return await work(kube, self.stage.record.get("foreign", {}).get("lab"))

        return asyncio.run(run())


async def _contents(kube: Kube, lab: str | None) -> dict[str, Obj]:
    """What is so of each object, by its path; in a cluster of others only of the lab's and of rollouts'."""
    return {path_of_object(obj): _content(obj) for obj in await _objects(kube, lab)}


async def _objects(kube: Kube, lab: str | None) -> list[Obj]:
    listed = [obj for kind in KINDS for obj in await _list(kube, kind)]
    return [
        obj for obj in listed if lab is None or _labels(obj).get(LAB) == lab or PLAN_LABEL in _labels(obj)
    ]


async def _list(kube: Kube, kind: str) -> list[Obj]:
    """All objects of a kind; none where the cluster does not know it."""
    try:
        return await kube.list(path_of(kind, HOME))
    except KubeError as error:
        if error.status == 404:
            return []
        raise


async def _restore(kube: Kube, lab: str | None, *, wanted: dict[str, Obj], kept: Collection[str]) -> None:
    """First the routes and what else was changed; then what came goes, when no traffic goes there."""
    for path, content in wanted.items():
        await _put_back(kube, path, content)
    for obj in await _objects(kube, lab):
        if path_of_object(obj) not in wanted.keys() | kept:
            guard = {"preconditions": {"uid": obj["metadata"]["uid"]}, "propagationPolicy": "Background"}
            with suppress(KubeError):  # gone meanwhile; if not, the proof says so
                await kube.delete(path_of_object(obj), **guard)


async def _put_back(kube: Kube, path: str, content: Obj) -> None:
    """Controllers write as well: until the object was written as it was read."""
    while _content(obj := await kube.get(path)) != content:
        others = {key: text for key, text in _annotations(obj).items() if not key.startswith(OURS)}
        metadata = {**obj["metadata"], "annotations": others | content["annotations"]}
        restored = {**obj, **content["parts"], "metadata": metadata}
        try:
            await kube.replace(path, restored, fieldManager=MANAGER)
        except KubeError as error:
            if error.status != 409:
                raise


def _content(obj: Obj) -> Obj:
    """The parts of an object that its writers mean, and our own annotations."""
    parts = () if obj["kind"] in WRITTEN_BY_OTHERS else ("spec", "data")
    return {
        "parts": {part: obj[part] for part in parts if part in obj},
        "annotations": {key: text for key, text in _annotations(obj).items() if key.startswith(OURS)},
    }


def _annotations(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def _labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _ends(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def is_idle(pod: Obj) -> bool:
    """Whether its model servers, one at each of its ports, say that they have no requests; False for what is
    none."""
    address = pod.get("status", {}).get("podIP", "")
    containers = pod["spec"]["containers"]
    ports = [port["containerPort"] for each in containers for port in each.get("ports", ())]
    return bool(ports) and all(_has_none(f"http://{address}:{port}/metrics") for port in ports)


def _has_none(url: str) -> bool:
    """Whether a page of metrics says that nothing runs or waits there."""
    try:
        page = requests.get(url, timeout=5)
    except requests.RequestException:
        return False
    load = parse(page.text)
    return page.ok and bool(SAMPLE.search(page.text)) and not load.running + load.waiting


def _is_in_force(route: Obj) -> bool:
    """Whether every gateway has said of the route as it is now that it serves it."""
    parents = route.get("status", {}).get("parents", [])
    seen = [told["observedGeneration"] for parent in parents for told in parent["conditions"]]
    return bool(seen) and min(seen) >= route["metadata"]["generation"]


def _pool(pod: Obj) -> str:
    """Whose server or picker a pod is; empty for a pod of somebody else."""
    app = _labels(pod).get("app", "")
    return _labels(pod).get("inference-pool") or (app.removesuffix("-epp") if app.endswith("-epp") else "")
