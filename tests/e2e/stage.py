"""A whole lab and a whole Airflow, and what a test needs to watch them and to interfere."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from lab.airflow.client import AirflowClient
from lab.airflow.identity import grant
from lab.airflow.settings import connections
from lab.airflow.standalone import Airflow
from lab.host.state import StateDirectory
from lab.kube.client import Kube
from lab.kube.objects import path_of
from lab.lifecycle.foreign import Foreign
from lab.lifecycle.up import Startup, down
from lab.monitoring.binary import find_prometheus

DAG = "rollout_llm"
ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/routes-to-llm"
IMAGE = "vllm/vllm-openai:v0.11.0"


@dataclass
class Stage:
    """Everything runs while the context lasts; nothing is left afterwards."""

    folder: Path
    respawned: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Stage:
        self.directory = StateDirectory(self.folder)
        self.lab = Startup(self.directory, 80, find_prometheus(), lambda _: None, foreign=foreign_cluster())
        self.airflow = Airflow(
            self.directory.airflow_home,
            connections(self.kubeconfig, self.lab.claim["prometheus"]["url"]),
        )
        try:
            asyncio.run(self._start())
            if not self.lab.foreign:
                grant(self.directory.kubeconfig, self.directory.limited_kubeconfig)
            self.client.wait_for_dag(DAG)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.respawned:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
        self.airflow.stop()
        if self.lab.foreign and self.directory.read():
            self.remove_rollouts()
        down(self.directory)

    async def _start(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.lab.run())
            group.create_task(self.airflow.start())

    @property
    def kubeconfig(self) -> Path:
        """Airflow's: with no more rights than docs say it needs, where the cluster is the lab's own."""
        return self.directory.kubeconfig if self.lab.foreign else self.directory.limited_kubeconfig

    @property
    def client(self) -> AirflowClient:
        return self.airflow.client()

    def kube(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """One call of lab.kube."""

        async def call() -> Any:
            async with Kube.from_kubeconfig(self.directory.kubeconfig) as kube:
                return await getattr(kube, method)(*args, **kwargs)

        return asyncio.run(call())

    def remove_rollouts(self) -> None:
        """Delete what the plan's rollouts created, which a lab leaves in a foreign cluster."""
        for kind in ("Deployment", "InferencePool", "Service"):
            collection = path_of(kind, "default")
            for obj in self.kube("list", collection, labelSelector="inference-rollouts.dev/plan=llm"):
                self.kube("delete", f"{collection}/{obj['metadata']['name']}")

    def route(self) -> dict[str, Any]:
        return dict(self.kube("get", ROUTE))

    def weights(self) -> dict[str, int]:
        return {ref["name"]: ref["weight"] for ref in self.route()["spec"]["rules"][0]["backendRefs"]}

    def events(self) -> list[str]:
        """Reasons of the Events that rollouts wrote on the route, in order."""
        found = self.kube("list", "/api/v1/namespaces/default/events")
        ours = [e for e in found if e.get("reportingComponent") == "inference-rollouts"]
        return [e["reason"] for e in sorted(ours, key=lambda e: int(e["metadata"]["resourceVersion"]))]

    def failures(self) -> dict[str, int]:
        """What the clients saw fail since the lab began, by cause."""
        outcomes = requests.get(f"{self.lab.claim['loadgen']['url']}/stats", timeout=5).json()["totals"][
            "outcomes"
        ]
        return {cause: count for cause, count in outcomes.items() if cause != "ok" and count}

    def trigger(self, stable: str, canary: str, weights: list[int]) -> str:
        conf = {"stable": stable, "canary": canary, "image": IMAGE, "weights": weights, "bake": "5s"}
        return self.client.trigger(DAG, conf)

    def state(self, run: str, task: str) -> str | None:
        states = {ti["task_id"]: ti["state"] for ti in self.client.task_instances(DAG, run)}
        return states[task]

    def reach(self, run: str, task: str, *states: str) -> None:
        """Return when a task is in one of these states."""
        until(lambda: self.state(run, task) in states, f"{task} to be {' or '.join(states)}")

    def kill(self, name: str) -> Callable[[], None]:
        """SIGKILL a component of Airflow with all its children; returns what starts it again."""
        victim = self.airflow.processes[name]
        proc = Path("/proc") / str(victim.pid)
        argv = proc.joinpath("cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        pairs = proc.joinpath("environ").read_bytes().rstrip(b"\0").split(b"\0")
        environment = dict(pair.split(b"=", 1) for pair in pairs)
        os.killpg(victim.pid, signal.SIGKILL)

        def again() -> None:
            with (self.folder / f"{name}.again.log").open("wb") as log:
                self.respawned.append(
                    subprocess.Popen(
                        argv, env=environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
                    )
                )

        return again


def foreign_cluster() -> Foreign | None:
    """The cluster that LAB_KUBECONFIG (and LAB_CONTEXT) name, to run in instead of an own API server."""
    if not (path := os.environ.get("LAB_KUBECONFIG")):
        return None
    return Foreign(Path(path), os.environ.get("LAB_CONTEXT"), "default")


def until(true: Callable[[], bool], what: str, seconds: float = 150) -> None:
    """Poll until something is true; raise AssertionError when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)
