"""What strikes: each fault is done to an arena, and undone by itself where it would pass by itself."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from bench.chaos.arena import CANARY, COMPONENTS, RESTART, Arena
from bench.stage import until
from lab.kube.kubeconfig import load_kubeconfig

OURS = "inference-rollouts"  # in the names of the ServiceAccounts of Airflow and of the guardian


@dataclass(frozen=True, slots=True)
class Struck:
    """A run of a plan that a fault is to strike."""

    arena: Arena
    plan: str
    run: str

    @property
    def dag(self) -> str:
        return self.arena.dag(self.plan)


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` returns when the fault is over, or has struck for good (`lasting`).

    `loses` are the failures that clients see of it: those of requests that were, or would have been, at what
    died. `offline`: the Kubernetes API does not answer the pipeline meanwhile.
    """

    name: str
    strike: Callable[[Struck], None]
    lasting: bool = False
    loses: bool = False
    offline: bool = False


def _restarted(name: str) -> Callable[[Struck], None]:
    def strike(struck: Struck) -> None:
        struck.arena.kill(name)
        time.sleep(RESTART)
        struck.arena.start_again(name)

    return strike


def _kill_task(struck: Struck) -> None:
    """The process in which a task's code runs, as soon as there is one."""
    found: list[int] = []

    def running() -> bool:
        found[:] = _task_processes(struck.arena.process("scheduler").pid)
        return bool(found)

    until(running, "a task's process", poll=0.02)
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def _task_processes(scheduler: int) -> list[int]:
    """Processes of the scheduler's session that have no children, and whose parent is a worker at work."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()
        if int(fields[3]) == scheduler and fields[0] not in "ZX":
            parents[int(entry)] = int(fields[1])
    leaves = parents.keys() - set(parents.values())
    return [pid for pid in leaves if parents.get(parents[pid]) == scheduler]


def _kill_model_server(struck: Struck) -> None:
    """One of the canary's dies at once; the kubelet starts it again."""
    [server, *_] = struck.arena.stage.servers(CANARY)
    requests.post(f"{server}/lab/crash", timeout=30).raise_for_status()


def _kill_all_airflow(struck: Struck) -> None:
    for name in COMPONENTS:
        struck.arena.kill(name)


def _delete_database(struck: Struck) -> None:
    """What is in it: processes that have the file open would go on with one that was only unlinked."""
    with sqlite3.connect(struck.arena.airflow.home / "airflow.db", timeout=30) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in tables:
            if not name.startswith("sqlite_"):
                database.execute(f'DROP TABLE "{name}"')


def _break_plan(struck: Struck) -> None:
    file = struck.arena.plans / f"{struck.plan}.yaml"
    file.write_text(file.read_text() + "\nsteps: [{weight: 50")


def _shorten_plan(struck: Struck) -> None:
    file = struck.arena.plans / f"{struck.plan}.yaml"
    plan = yaml.safe_load(file.read_text())
    plan["approvals"].pop("steps", None)
    file.write_text(yaml.safe_dump(plan | {"steps": plan["steps"][-1:]}))


def _delete_plan(struck: Struck) -> None:
    (struck.arena.plans / f"{struck.plan}.yaml").unlink()


def _delete_run(struck: Struck) -> None:
    client = struck.arena.airflow.client()
    client.delete_run(struck.dag, struck.run)


def _clear_run(struck: Struck) -> None:
    struck.arena.airflow.client().clear_run(struck.dag, struck.run)


def _pause_dag(struck: Struck) -> None:
    struck.arena.airflow.client().set_paused(struck.dag, True)


def _api(rule: dict[str, Any], seconds: float) -> Callable[[Struck], None]:
    """The API server fails the pipeline's own requests, and nobody else's."""

    def strike(struck: Struck) -> None:
        endpoint = load_kubeconfig(struck.arena.stage.directory.kubeconfig)
        url, headers = f"{endpoint.server}/lab/faults", endpoint.headers
        plan = {"seed": 1, "rules": [rule | {"user": OURS}]}

        def call(method: str, **body: Any) -> None:
            answer = requests.request(method, url, headers=headers, verify=False, timeout=30, **body)
            answer.raise_for_status()

        call("POST", json=plan)
        time.sleep(seconds)
        call("DELETE")

    return strike


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("scheduler killed", _restarted("scheduler")),
        Fault("triggerer killed", _restarted("triggerer")),
        Fault("dag-processor killed", _restarted("dag-processor")),
        Fault("Airflow's API server killed", _restarted("api-server")),
        Fault("a task killed", _kill_task),
        Fault("Kubernetes API server killed", _restarted("apiserver"), offline=True),
        Fault("Prometheus killed", _restarted("prometheus")),
        Fault("Envoy killed", _restarted("envoy"), loses=True),
        Fault("endpoint pickers killed", _restarted("picker"), loses=True),
        Fault("a model server killed", _kill_model_server, loses=True),
        Fault("Airflow's database deleted", _delete_database, lasting=True),
        Fault("plan broken", _break_plan, lasting=True),
        Fault("plan shortened", _shorten_plan, lasting=True),
        Fault("plan deleted", _delete_plan, lasting=True),
        Fault("run deleted", _delete_run, lasting=True),
        Fault("run cleared", _clear_run),
        Fault("DAG paused", _pause_dag, lasting=True),
        Fault("API: 403 for 30 s", _api({"kind": "error", "code": 403}, 30.0), offline=True),
        Fault("API: 20 % answer 500 for 30 s", _api({"kind": "error", "code": 500, "share": 0.2}, 30.0)),
        Fault("API: cut off for 60 s", _api({"kind": "reset-before"}, 60.0), offline=True),
        Fault("all of Airflow killed for good", _kill_all_airflow, lasting=True),
    )
}
