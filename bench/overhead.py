"""What a rollout takes beside its waits: `python -m bench.overhead` plays some that bake for seconds.

With the lab's Airflow and, on the same machine, with an Airflow whose scheduler has its defaults.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from bench.docs import write
from bench.shared import SharedLab
from bench.stage import Stage, stage
from inference_rollouts.core.objects.k8s import moment
from lab.airflow.client import AirflowClient
from lab.airflow.settings import connections
from lab.airflow.standalone import Airflow
from lab.host.state import CHECKOUT

DAG, PLAN = "rollout_paced", "paced"
WEIGHTS, DELAY, BAKE = [10, 30, 60, 100], 1.0, 4.0  # percent, seconds, seconds
CHANGES = {
    "name": PLAN,
    "initial_delay": f"{DELAY:.0f}s",
    "steps": [{"weight": weight, "bake": f"{BAKE:.0f}s"} for weight in WEIGHTS],
    "analysis": {"interval": "1s", "margin": None, "min_requests": 1},
}
RATE = 20.0  # requests/s of all clients: enough for a verdict, and the machine is left to Airflow
PATIENCE = 300.0  # seconds for a rollout
DEFAULTS = {
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
}
PARTS = {
    "verdict": "from the end of the bake time until its verdict",
    "ended": "until the judge's task has ended",
    "started": "until the next task starts",
    "in_force": "until its weights stand on the route",
}


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds beside initial delay and bake: of each step by `PARTS`, and until the `first` weight."""

    steps: tuple[Mapping[str, float], ...]
    first: float


@contextmanager
def airflow_on(up: Stage, folder: Path, *, preloaded: bool) -> Iterator[AirflowClient]:
    """An Airflow with this benchmark's plan alone: the lab's, or one with the defaults."""
    include = folder / "include"
    shutil.copytree(CHECKOUT / "include", include)
    for example in (include / "rollouts").iterdir():
        example.unlink()
    plan = yaml.safe_load((CHECKOUT / "include" / "rollouts" / "llm.yaml").read_text())
    (include / "rollouts" / f"{PLAN}.yaml").write_text(yaml.safe_dump(plan | CHANGES))
    environment = connections(up.directory.kubeconfig, up.record["prometheus"]["url"])
    environment |= {"INFERENCE_ROLLOUTS_INCLUDE": str(include)} | ({} if preloaded else DEFAULTS)
    with Airflow(folder / "airflow", environment, preloaded=preloaded) as airflow:
        client = airflow.client()
        client.wait_for_dag(DAG)
        client.set_paused(DAG, False)
        yield client


def overhead_of(client: AirflowClient, canary: str) -> Overhead:
    """Play a rollout to its end; AssertionError where the canary is not promoted."""
    run = client.trigger(DAG, {"canary": canary})
    state = client.wait(DAG, run, PATIENCE)
    assert state == "success", client.run(DAG, run)["note"]
    tasks = {entry["task_id"]: entry for entry in client.task_instances(DAG, run)}
    numbers = range(1, len(WEIGHTS) + 1)
    since = [client.xcom(DAG, run, f"step_{n}.shift")["since"] for n in numbers]
    since.append(_time(tasks["promote"], "end_date"))
    steps = []
    for n in numbers:
        judge = f"step_{n}.judge"
        following = tasks.get(f"step_{n + 1}.shift", tasks["promote"])
        times = [
            since[n - 1] + DELAY + BAKE,
            client.xcom(DAG, run, judge)["time"],
            _time(tasks[judge], "end_date"),
            _time(following, "start_date"),
            since[n],
        ]
        steps.append(dict(zip(PARTS, (b - a for a, b in pairwise(times)), strict=True)))
    return Overhead(tuple(steps), since[0] - _time(tasks["warm_up"], "end_date"))


def _time(task: Mapping[str, Any], key: str) -> float:
    at = moment(task[key])
    assert at is not None
    return at


def table(measured: Mapping[str, Sequence[Overhead]]) -> str:
    """Medians in seconds, with the largest."""
    rows = [["seconds, median (largest)", *measured], ["---", *["---:"] * len(measured)]]
    for part, what in PARTS.items():
        rows.append(
            [what, *(_figures([s[part] for o in runs for s in o.steps]) for runs in measured.values())]
        )
    steps = (_figures([sum(s.values()) for o in runs for s in o.steps]) for runs in measured.values())
    rows.append(["**a step, beside initial delay and bake**", *steps])
    first = (_figures([each.first for each in runs]) for runs in measured.values())
    rows.append(["from the end of the warm-up to the first weight", *first])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _figures(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({max(seconds):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what a rollout takes beside its waits.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    args = parser.parse_args()
    measured: dict[str, list[Overhead]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-overhead-") as name, stage(Path(name) / "lab") as up:
        up.set_rate(RATE)
        lab = SharedLab(up)
        for which, preloaded in (("the lab's settings", True), ("Airflow's defaults", False)):
            measured[which] = []
            with airflow_on(up, Path(name) / which.replace(" ", "-"), preloaded=preloaded) as client:
                for number in range(args.runs):
                    measured[which].append(overhead_of(client, f"llm-pool-{number}"))
                    print(which, number + 1, measured[which][-1], flush=True)
                    lab.reset()
                    up.set_rate(RATE)
    print(text := table(measured))
    if args.write:
        write("overhead", text, "performance.md")


if __name__ == "__main__":
    main()
