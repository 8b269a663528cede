"""A cluster for tests: the lab's API server and controllers as processes, and a kubelet that is instant."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lab.gateway.envoy import prepare
from lab.host.addresses import free_port, free_subnet
from lab.kube.client import Kube, KubeError
from lab.kube.clock import stamp
from lab.kube.objects import key_of, path_of, path_of_object

Obj = dict[str, Any]
T = TypeVar("T")

DEADLINE = 60.0
GRACE = ("--node-grace", "2", "--evict-after", "0.2")


@dataclass
class Cluster:
    """Where the processes are, and how to reach what they serve."""

    directory: Path
    subnet: str
    processes: dict[str, subprocess.Popen[bytes]]

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "apiserver" / "kubeconfig"

    @property
    def url(self) -> str:
        return f"http://{self.subnet}.1:8080"

    def start_manager(self) -> None:
        """Start `python -m lab.manager`, as the lab does."""
        access = ("--kubeconfig", self.kubeconfig, "--dir", self.directory)
        address = ("--gateway-address", f"{self.subnet}.1")
        self._start("manager", [sys.executable, "-m", "lab.manager", *access, *address, *GRACE])

    def start_apiserver(self, port: int = 0, definitions: Path | None = None) -> None:
        """Start the API server, with the lab's custom kinds or others, and wait for its kubeconfig."""
        where = ["--dir", self.directory / "apiserver", "--port", port]
        if definitions:
            where += ["--crds", definitions]
        self._start("apiserver", [sys.executable, "-m", "lab.apiserver", *where])
        wait_until(self.kubeconfig.exists)

    def start_envoy(self) -> None:
        """Start an Envoy without listeners."""
        self._start("envoy", prepare(self.directory, free_port()))

    def start_picker(self) -> None:
        """Start `python -m lab.gateway.picker`."""
        program = [sys.executable, "-m", "lab.gateway.picker"]
        self._start("picker", [*program, "--kubeconfig", self.kubeconfig])

    @contextmanager
    def without_envoy(self) -> Iterator[None]:
        """Envoy is dead for a while, then starts with the files as they are."""
        process = self.kill("envoy")
        try:
            yield
        finally:
            self._start("envoy", process.args)

    def kill(self, name: str) -> subprocess.Popen[bytes]:
        """SIGKILL."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        return process

    def kubectl(self, *arguments: str, text: str | None = None, ok: bool = True) -> str:
        """Run the real kubectl."""
        program = Path(sys.executable).with_name("kubectl")
        done = subprocess.run(
            [program, "--kubeconfig", self.kubeconfig, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert not ok or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def run(self, body: Callable[[Kube], Awaitable[T]], kubelet: bool = True) -> T:
        """Run `body` with a client, and a kubelet that makes every bound pod ready at once."""

        async def main() -> T:
            async with Kube.from_kubeconfig(self.kubeconfig) as kube, asyncio.timeout(DEADLINE):
                agent = asyncio.create_task(instant_kubelet(kube, self.subnet)) if kubelet else None
                try:
                    return await body(kube)
                finally:
                    if agent:
                        agent.cancel()

        return asyncio.run(main())

    def _start(self, name: str, argv: Any) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self.processes[name] = subprocess.Popen(
                [str(each) for each in argv], stdout=log, stderr=log, env=environment
            )


@contextmanager
def running_cluster(directory: Path) -> Iterator[Cluster]:
    """API server and controllers in `directory`; everything is killed in the end."""
    cluster = Cluster(directory, free_subnet(), {})
    try:
        cluster.start_apiserver()
        cluster.start_manager()
        yield cluster
    finally:
        for name in list(cluster.processes):
            cluster.kill(name)


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds; fails after a while."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


async def until(probe: Callable[[], Awaitable[Any]]) -> Any:
    """Poll until `probe` returns something true, and return that. `Cluster.run` has the deadline."""
    while True:
        with suppress(KubeError):
            if result := await probe():
                return result
        await asyncio.sleep(0.02)


async def instant_kubelet(kube: Kube, subnet: str) -> None:
    """Every bound pod is Running and Ready at once on an address of its own, and ends at once when told.

    A pod whose image is `broken` never becomes ready.
    """
    addresses = iter(range(10, 250))
    async for kind, pod in kube.watch(path_of("Pod")):
        if kind in ("SYNCED", "DELETED") or not pod["spec"].get("nodeName"):
            continue
        with suppress(KubeError):
            if "deletionTimestamp" in pod["metadata"]:
                await kube.delete(path_of_object(pod), gracePeriodSeconds=0)
            elif not pod["status"].get("podIP"):
                ready = pod["spec"]["containers"][0]["image"] != "broken"
                status = running(pod, ready, f"{subnet}.{next(addresses)}")
                await kube.patch(path_of_object(pod, "status"), {"status": status}, "strategic")


def running(pod: Obj, ready: bool, address: str) -> Obj:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": stamp()}
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp()}
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [condition, scheduled],
    }


def node(name: str, **resources: str) -> Obj:
    amounts = {"cpu": "8", "memory": "32Gi", "pods": "110", **resources}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": stamp()}
    status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}


def deployment(name: str, replicas: int = 2, image: str = "good", **spec: Any) -> Obj:
    labels = {"app": name}
    container = {"name": "main", "image": image}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            **spec,
        },
    }


async def add_node(kube: Kube, made: Obj) -> None:
    """Create a node with its status."""
    await kube.apply(made, "test")
    await kube.patch(path_of_object(made, "status"), made, "apply", "test", force=True)


async def pods_of(kube: Kube, app: str) -> list[Obj]:
    """The pods of a deployment made by `deployment`, but for those that are about to go."""
    pods = await kube.list(path_of("Pod", "default"), labelSelector=f"app={app}")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


async def events_of(kube: Kube, name: str) -> list[tuple[str, str]]:
    """`(reason, message)` of the Events about objects whose names start with `name`."""
    events = await kube.list(path_of("Event", "default"))
    return [
        (event["reason"], event["message"])
        for event in events
        if event["involvedObject"]["name"].startswith(name)
    ]


async def remove(kube: Kube, *objects: Obj) -> None:
    """Delete objects, and wait until no pod is left."""
    for obj in objects:
        with suppress(KubeError):
            await kube.delete(path_of_object(obj))

    async def none_left() -> bool:
        return not await kube.list(path_of("Pod", "default"))

    await until(none_left)


def condition_of(obj: Obj, kind: str) -> tuple[str, str]:
    """`(status, reason)` of a condition; empty if it is missing."""
    for each in obj.get("status", {}).get("conditions") or []:
        if each["type"] == kind:
            return each["status"], each.get("reason", "")
    return "", ""


def names(objects: list[Obj]) -> set[str]:
    return {key_of(each)[1] for each in objects}
