"""Where cells are played: a lab with Airflow and a guardian, brought back to its beginning for each."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.shared import SharedLab
from bench.stage import ROUTE, Stage, stage, until
from inference_rollouts.core.objects.k8s import K8sObject, moment
from inference_rollouts.core.routing.claim import Claim, read_claim
from inference_rollouts.rollout.claims import way_back_of
from lab.airflow.client import TERMINAL, AirflowError
from lab.airflow.guardian import NAME as GUARDIAN
from lab.airflow.guardian import start_guardian
from lab.airflow.identity import grant
from lab.airflow.settings import connections
from lab.airflow.standalone import Airflow
from lab.host import processes
from lab.host.processes import Process
from lab.host.state import CHECKOUT

STABLE, CANARY = "llm-pool", "llm-pool-version-2"
CLIENTS = 20.0  # requests/s of all clients
WEIGHTS, BAKE = [30, 100], "6s"
COMPONENTS = ("scheduler", "triggerer", "dag-processor", "api-server")
RESTART = 3.0  # seconds until what supervises a process has started it again
PATIENCE = 300.0  # seconds for a whole cell
NOBODY = 60.0  # seconds after which a hasty plan's rollout, that no guardian has ended, is left for good

# Airflow notices dead tasks and changed files in seconds rather than minutes; with its defaults the same
# happens later, and a plan's deadlines and `abandon` have their defaults too.
AIRFLOW = {
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
}
QUICK = {
    "initial_delay": "3s",
    "steps": [{"weight": weight, "bake": BAKE} for weight in (10, 30, 60, 100)],
}
PLANS: dict[str, dict[str, Any]] = {
    # for faults that pass: the rollout is not to be given up before they have
    "patient": {
        "analysis": {"interval": "1s", "margin": None, "progress_deadline": "100s"},
        "deadlines": {"route": "60s", "warm_up": "60s", "abandon": "60s"},
        "approvals": {"timeout": "10m"},
    },
    # for those that do not: a guardian waits until the next move is overdue
    "hasty": {
        "analysis": {"interval": "1s", "margin": None, "progress_deadline": "10s"},
        "deadlines": {"route": "20s", "warm_up": "20s", "abandon": "15s"},
        "approvals": {"timeout": "60s"},
    },
}


@dataclass
class Arena:
    """All that a cell is played with. `plans` is the folder of plan files, which a fault may spoil.

    `guarded`: a guardian runs.
    """

    stage: Stage
    lab: SharedLab
    airflow: Airflow
    plans: Path
    guarded: bool = True
    _argv: dict[str, list[str]] = field(default_factory=dict)

    def route(self) -> K8sObject | None:
        """The route as it is now; None while the API server does not answer."""
        with suppress(Exception):
            return self.stage.cluster.get(*ROUTE)
        return None

    def claim(self) -> Claim | None:
        """The rollout's claim now; None also while nobody answers."""
        route = self.route()
        return read_claim(route) if route else None

    def dag(self, plan: str) -> str:
        return f"rollout_{plan.replace('-', '_')}"

    def start(self, plan: str) -> str:
        """Start a run of a plan; its id."""
        conf = {"stable": STABLE, "canary": CANARY, "weights": WEIGHTS, "bake": BAKE}
        return self.airflow.client().trigger(self.dag(plan), conf)

    def states(self, plan: str, run: str) -> dict[str, str]:
        """The states of a run's tasks; empty while Airflow does not answer, or knows it no more."""
        with suppress(AirflowError):
            entries = self.airflow.client().task_instances(self.dag(plan), run)
            return {entry["task_id"]: entry["state"] or "" for entry in entries}
        return {}

    def write_plans(self) -> None:
        """Every plan, alone and with a question before 100 %."""
        example = yaml.safe_load((CHECKOUT / "include" / "rollouts" / "llm.yaml").read_text())
        for name, changes in PLANS.items():
            asking = {"approvals": changes["approvals"] | {"steps": [100]}}
            for each, more in ((name, {}), (f"{name}-asking", asking)):
                plan = example | QUICK | changes | more | {"name": each}
                file, text = self.plans / f"{each}.yaml", yaml.safe_dump(plan)
                if not file.exists() or file.read_text() != text:
                    file.write_text(text)

    def process(self, name: str) -> Process:
        """A process of the lab, or a component of Airflow."""
        if name in self.airflow.processes:
            return self.airflow.processes[name]
        return next(each for each in self.stage.directory.processes() if each.name == name)

    def kill(self, name: str) -> None:
        """SIGKILL, with all its children."""
        process = self.process(name)
        if name not in COMPONENTS:
            self._argv[name] = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")[:-1]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        until(lambda: not process.is_alive(), f"the end of {name}", poll=0.05)

    def start_again(self, name: str) -> None:
        """As it was; of the API server, where it was."""
        if name in COMPONENTS:
            self.airflow.start_again(name)
            return
        argv = self._argv.pop(name)
        if name == "apiserver":
            argv[argv.index("--port") + 1] = self.stage.record["apiserver"]["url"].rpartition(":")[2]
        directory = self.stage.directory
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "plugins")}
        cwd = directory.path if name == GUARDIAN else CHECKOUT
        directory.add(processes.start(name, argv, directory.log(name), env=environment, cwd=cwd))

    def heal(self) -> None:
        """Whatever a fault has broken works again: processes, plans, Airflow's memory."""
        self.write_plans()
        written = max(file.stat().st_mtime for file in self.plans.glob("*.yaml"))
        for process in self.stage.directory.processes():
            if not process.is_alive() and process.name in self._argv:
                self.start_again(process.name)
        if not self._airflow_works():
            self.airflow.stop()
            asyncio.run(self.airflow.start())
        self.ready(written)

    def ready(self, written: float = 0.0) -> None:
        """Every plan has its DAG, unpaused, as it has been since its file was `written` (Unix time)."""
        client = self.airflow.client()
        dags = {self.dag(plan.stem) for plan in self.plans.glob("*.yaml")}
        seen: dict[str, set[float]] = {dag: set() for dag in dags}

        def parsed() -> bool:
            """Twice: the first parse may have begun before the file was written."""
            with suppress(AirflowError):
                for each in client.get("/dags", limit=100)["dags"]:
                    at = moment(each["last_parsed_time"]) or 0.0
                    if each["dag_id"] in seen and at > written:
                        seen[each["dag_id"]].add(at)
            return all(len(times) >= 2 for times in seen.values())

        def unpaused() -> bool:
            """SQLite may be locked for a moment."""
            with suppress(AirflowError):
                for dag in dags:
                    client.set_paused(dag, False)
                return True
            return False

        until(parsed, f"DAGs {', '.join(sorted(dags))}", 120.0)
        until(unpaused, "running DAGs", 120.0)

    def _airflow_works(self) -> bool:
        alive = [each.is_alive() for each in self.airflow.processes.values()]
        try:
            return bool(alive) and all(alive) and bool(self.airflow.client().dag_ids())
        except AirflowError:
            return False

    def reset(self) -> None:
        """As in the beginning: no run at work, no canary, no claim."""
        self.heal()
        client = self.airflow.client()
        for plan in self.plans.glob("*.yaml"):
            for run in client.get(f"/dags/{self.dag(plan.stem)}/dagRuns", limit=100)["dag_runs"]:
                if run["state"] not in TERMINAL:
                    client.set_run_state(self.dag(plan.stem), run["dag_run_id"], "failed")
        if self.guarded:
            until(lambda: self.claim() is None, "the end of all claims", PATIENCE)
        elif claim := self.claim():
            way_back_of(self.stage.cluster, claim.token).restore("the next cell begins", time.time())
        self.lab.reset()


@contextmanager
def arena(folder: Path, *, guarded: bool = True) -> Iterator[Arena]:
    """An arena while the context lasts."""
    include = folder / "include"
    shutil.copytree(CHECKOUT / "include", include)
    plans = include / "rollouts"
    shutil.rmtree(plans)
    plans.mkdir()
    with stage(folder / "lab") as up:
        directory, record = up.directory, up.record
        grant(directory.kubeconfig, directory.limited_kubeconfig)
        up.set_rate(CLIENTS)
        environment = connections(directory.limited_kubeconfig, record["prometheus"]["url"])
        environment |= AIRFLOW | {"INFERENCE_ROLLOUTS_INCLUDE": str(include)}
        airflow = Airflow(directory.airflow_home, environment)
        made = Arena(up, SharedLab(up), airflow, plans, guarded)
        made.write_plans()
        if guarded:
            start_guardian(directory, record["prometheus"]["url"])
        with airflow:
            made.ready()
            yield made
