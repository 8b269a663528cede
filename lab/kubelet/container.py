"""One container from the pull of its image to its last exit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from lab.kube.clock import stamp
from lab.kube.objects import Obj
from lab.kubelet.probes import Probe, Tally, parse_probe
from lab.kubelet.processes import Command, Exit, Process
from lab.kubelet.status import ContainerState
from lab.model_server.images import Catalogue, Image

log = logging.getLogger(__name__)

FIRST_BACKOFF, LAST_BACKOFF = 10.0, 300.0
RUNS_LONG_ENOUGH = 600.0
SHORTEST_GRACE = 2.0
KILLED = 137

Tell = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container needs of its pod and node. `pulled` are the images on the node; `scale`
    multiplies pull, load and back-off times; `tell(type, reason, message)` records an Event.
    """

    pod: Obj
    address: str
    catalogue: Catalogue
    pulled: set[str]
    session: aiohttp.ClientSession
    scale: float
    tell: Tell
    changed: Callable[[], None]
    accelerator: str = ""


class Container:
    """Runs one container; `state` is what its status reports."""

    def __init__(self, spec: Obj, around: Surroundings, previous: Obj | None) -> None:
        self._spec = spec
        self._around = around
        self.state = ContainerState(spec["name"], spec["image"])
        if previous and (previous.get("containerID") or previous.get("restartCount")):
            self.state.restarts = previous["restartCount"] + 1
            self.state.last_state = {"terminated": _terminated(Exit(KILLED, "the node restarted"), stamp())}
        self._process: Process | None = None
        self._stopping = False
        self._backoff = 0.0
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_log_failure)

    async def stop(self, grace: float) -> None:
        """preStop, SIGTERM, and after `grace` seconds SIGKILL. Returns when the container has ended."""
        self._stopping = True
        if self._process and grace:
            await self._end(self._process, grace)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _end(self, process: Process, grace: float) -> None:
        deadline = asyncio.get_running_loop().time() + grace
        await process.gone(min(self._pre_stop_seconds(), grace))
        process.terminate()
        await process.gone(max(SHORTEST_GRACE, deadline - asyncio.get_running_loop().time()))
        process.kill()
        await process.gone(SHORTEST_GRACE)

    async def _run(self) -> None:
        image = await self._pull()
        while True:
            started = stamp()
            began = asyncio.get_running_loop().time()
            exit_ = await self._run_once(image, started)
            if asyncio.get_running_loop().time() - began > RUNS_LONG_ENOUGH * self._around.scale:
                self._backoff = 0.0
            if self._stopping or not self._restarts_after(exit_):
                return
            await self._back_off()

    async def _pull(self) -> Image:
        name, around, failures = self._spec["image"], self._around, 0
        while (image := around.catalogue.image(name)) is None:
            message = f'Failed to pull image "{name}": not found'
            around.tell("Normal", "Pulling", f'Pulling image "{name}"')
            around.tell("Warning", "Failed", message)
            self._wait("ErrImagePull", message)
            await asyncio.sleep(around.scale)
            around.tell("Normal", "BackOff", f'Back-off pulling image "{name}"')
            self._wait("ImagePullBackOff", f'Back-off pulling image "{name}"')
            await asyncio.sleep(min(FIRST_BACKOFF * 2**failures, LAST_BACKOFF) * around.scale)
            failures += 1
        if name in around.pulled and self._spec.get("imagePullPolicy") != "Always":
            around.tell("Normal", "Pulled", f'Container image "{name}" already present on machine')
            return image
        around.tell("Normal", "Pulling", f'Pulling image "{name}"')
        await asyncio.sleep(image.pull * around.scale)
        around.pulled.add(name)
        around.tell("Normal", "Pulled", f'Successfully pulled image "{name}" in {image.pull}s')
        return image

    async def _run_once(self, image: Image, started: str) -> Exit:
        self._process = Process(self._command(image))
        self._around.tell("Normal", "Created", f"Created container: {self.state.name}")
        self._around.tell("Normal", "Started", f"Started container {self.state.name}")
        self.state.state = {"running": {"startedAt": started}}
        self._around.changed()
        probes = asyncio.create_task(self._probe(self._process))
        exit_ = Exit(KILLED, "killed")
        try:
            exit_ = await self._process.run()
        finally:
            probes.cancel()
            self._process = None
            self.state.ready = self.state.started = False
            self.state.state = {"terminated": _terminated(exit_, started)}
            self._around.changed()
        return exit_

    def _command(self, image: Image) -> Command:
        pod, spec = self._around.pod["metadata"], self._spec
        environment = {item["name"]: item.get("value") or "" for item in spec.get("env") or []}
        return Command(
            image=image,
            catalogue=self._around.catalogue,
            arguments=[*(spec.get("command") or []), *(spec.get("args") or [])],
            environment=environment,
            ports=[port["containerPort"] for port in spec.get("ports") or []],
            address=self._around.address,
            pod=pod["name"],
            pool=(pod.get("labels") or {}).get("inference-pool", ""),
            scale=self._around.scale,
            accelerator=self._around.accelerator,
        )

    def _restarts_after(self, exit_: Exit) -> bool:
        match self._around.pod["spec"].get("restartPolicy", "Always"):
            case "Never":
                return False
            case "OnFailure":
                return exit_.status != 0
        return True

    async def _back_off(self) -> None:
        self.state.last_state = self.state.state
        if self._backoff:
            name, pod = self.state.name, self._around.pod["metadata"]["name"]
            self._around.tell(
                "Warning", "BackOff", f"Back-off restarting failed container {name} in pod {pod}"
            )
            seconds = f"back-off {self._backoff:.0f}s restarting failed container={name} pod={pod}"
            self._wait("CrashLoopBackOff", seconds)
            await asyncio.sleep(self._backoff * self._around.scale)
        self._backoff = min(max(FIRST_BACKOFF, 2 * self._backoff), LAST_BACKOFF)
        self.state.restarts += 1

    def _wait(self, reason: str, message: str) -> None:
        self.state.state = {"waiting": {"reason": reason, "message": message}}
        self._around.changed()

    def _pre_stop_seconds(self) -> float:
        """Of a preStop `sleep`, or an exec of `sleep N`; other hooks take no time."""
        hook = (self._spec.get("lifecycle") or {}).get("preStop") or {}
        seconds = (hook.get("sleep") or {}).get("seconds", 0)
        command = (hook.get("exec") or {}).get("command") or []
        words = " ".join(command).split()
        if "sleep" in words[:-1]:
            seconds = words[words.index("sleep") + 1]
        return float(seconds)

    async def _probe(self, process: Process) -> None:
        ports = self._spec.get("ports") or []
        kinds = ("startup", "readiness", "liveness")
        startup, readiness, liveness = (parse_probe(self._spec.get(f"{kind}Probe"), ports) for kind in kinds)
        if startup:
            await self._watch(startup, "Startup", Tally(startup, False), process)
        self.state.started = True
        self.state.ready = readiness is None
        self._around.changed()
        async with asyncio.TaskGroup() as group:
            if readiness:
                group.create_task(self._watch(readiness, "Readiness", Tally(readiness, False), process))
            if liveness:
                group.create_task(self._watch(liveness, "Liveness", Tally(liveness, True), process))

    async def _watch(self, probe: Probe, kind: str, tally: Tally, process: Process) -> None:
        """Probe for ever; a startup probe only until it passes. Failures beyond the threshold end the
        process, except for readiness, which only shows, and alone goes on while the pod ends.
        """
        await asyncio.sleep(probe.initial_delay)
        while kind == "Readiness" or not self._stopping:
            problem = await probe.attempt(self._around.session, self._around.address)
            if problem:
                self._around.tell("Warning", "Unhealthy", f"{kind} probe failed: {problem}")
            reached = tally.add(problem is None)
            if kind == "Readiness" and self.state.ready != tally.healthy:
                self.state.ready = tally.healthy
                self._around.changed()
            if kind == "Startup" and reached and tally.healthy:
                return
            if kind != "Readiness" and reached and not tally.healthy:
                message = f"Container {self.state.name} failed {kind.lower()} probe, will be restarted"
                self._around.tell("Normal", "Killing", message)
                await self._end(process, self._around.pod["spec"].get("terminationGracePeriodSeconds", 30))
                return
            await asyncio.sleep(probe.period)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a container's task failed", exc_info=error)


def _terminated(exit_: Exit, started: str) -> Obj:
    return {
        "exitCode": exit_.status,
        "reason": "Completed" if exit_.status == 0 else "Error",
        "message": exit_.message,
        "startedAt": started,
        "finishedAt": stamp(),
    }
