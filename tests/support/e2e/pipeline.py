"""An Airflow on a stage: what a test needs to watch its runs and to interfere with them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from bench.stage import until
from lab.airflow.client import TERMINAL, AirflowClient
from lab.airflow.standalone import Airflow

DAG = "rollout_llm"
ASKING = "rollout_llm_asking"
IMAGE = "vllm/vllm-openai:v0.32.0"
LONG = 400.0  # seconds for a whole rollout


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The rollouts of an Airflow that runs."""

    airflow: Airflow
    client: AirflowClient

    def trigger(self, canary: str, weights: list[int], bake: str = "5s", dag: str = DAG) -> str:
        """Start a run from `llm-pool` to `canary`; returns its id."""
        conf = {"stable": "llm-pool", "canary": canary, "image": IMAGE, "weights": weights, "bake": bake}
        return self.client.trigger(dag, conf)

    def state(self, run: str, task: str, dag: str = DAG) -> str:
        """The state of a task; empty before it has one."""
        states = {ti["task_id"]: ti["state"] for ti in self.client.task_instances(dag, run)}
        return states[task] or ""

    def reach(self, run: str, task: str, *states: str, dag: str = DAG) -> None:
        """Return when a task is in one of these states."""
        until(
            lambda: self.state(run, task, dag) in states,
            f"{task} to be {' or '.join(states)}",
            LONG,
            poll=0.5,
        )

    def end(self, run: str, dag: str = DAG) -> str:
        """The state in which the run ended."""
        return self.client.wait(dag, run, LONG)

    def kill(self, name: str) -> None:
        """SIGKILL a component of Airflow with all its children; `airflow.start_again` brings it back."""
        os.killpg(self.airflow.processes[name].pid, signal.SIGKILL)

    def quiesce(self) -> None:
        """End what a test that failed has left running, and wait for its way back."""
        for dag in (DAG, ASKING):
            for run in self.client.get(f"/dags/{dag}/dagRuns", limit=500)["dag_runs"]:
                if run["state"] not in TERMINAL:
                    self.client.set_run_state(dag, run["dag_run_id"], "failed")
                self.reach(run["dag_run_id"], "report", "success", "failed", dag=dag)
