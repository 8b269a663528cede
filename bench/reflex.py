"""How fast a bad canary loses its traffic: `python -m bench.reflex` breaks one again and again in a lab.

In each run the canary gets half of the traffic, the judge's trigger sees some healthy looks, and then the
canary's pods begin to fail: by turns in a storm, and so that only the statistics can tell.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import requests
import yaml

from bench.docs import write
from lab.airflow.settings import connections, settings
from lab.host.state import CHECKOUT, StateDirectory
from lab.lifecycle.up import Startup, down
from lab.monitoring.binary import find_prometheus

if TYPE_CHECKING:  # what imports Airflow is imported late: Airflow then reads its environment
    from inference_rollouts.core.run.frozen import Frozen
    from inference_rollouts.triggers.judge import JudgeTrigger

RATE = 80.0  # requests/s of all clients
HEALTHY = 5.0  # seconds that the judge sees before the faults
STEPS = [{"weight": 50, "bake": "1m"}, {"weight": 100, "bake": "1m"}]
STORM, SMALL = 0.8, 0.1  # shares of the canary's answers that become 500
ROUTE = ("gateway.networking.k8s.io/v1", "HTTPRoute", "routes-to-llm")


@dataclass(frozen=True, slots=True)
class Reflex:
    """One run in which `share` of the canary's answers failed.

    Seconds until Envoy routes nothing to the canary, from three moments; and `to_restored`, from the first of
    them until the route is as it was found. The scrape that decided is the last one of a canary's pod among
    the counts of the look that alarmed; its edge is where that look's window ends.
    """

    share: float
    from_scrape: float
    to_restored: float
    from_edge: float
    from_fault: float


class Theatre:
    """A lab in which the canary's pool runs, and this process's way to it."""

    def __init__(self, envoy: str) -> None:
        from inference_rollouts.clients.kubernetes import ClusterHook
        from inference_rollouts.clients.prometheus import PrometheusHook

        self.envoy = envoy
        self.cluster = ClusterHook("kubernetes_default", "default")
        self.prometheus = PrometheusHook("prometheus_default")
        self.frozen = self._deploy()

    def run(self, share: float) -> Reflex:
        """One reflex. Raises AssertionError when the judge did not roll back because of this fault."""
        from inference_rollouts.core.judging.judge import Carried
        from inference_rollouts.rollout.step_observer import StepObserver
        from inference_rollouts.triggers.judge import JudgeTrigger

        since, found = time.time(), self.cluster.get(*ROUTE)["spec"]
        traffic = StepObserver(self.frozen, self.frozen.plan.step_context(1, since), Carried()).traffic
        traffic.attach()
        traffic.shift(self.frozen.plan.steps[0].weight, 1, since)
        trigger = JudgeTrigger(frozen=self.frozen.to_json(), step=1, since=since)
        with ThreadPoolExecutor(1) as thread, requests.Session() as admin:
            judging = thread.submit(asyncio.run, judgement(trigger))
            time.sleep(
                self.frozen.plan.initial_delay + HEALTHY + random.random()
            )  # anywhere between two looks
            broken = time.time()
            self._break(share)
            _until(lambda: not self._routed(admin), "Envoy to leave the canary", 120, poll=0.01)
            gone, said = time.time(), judging.result()
        self._break(0.0)
        traffic.restore("the run is over")
        restored = time.time()
        assert self.cluster.get(*ROUTE)["spec"] == found
        assert said["verdict"] == "rollback", said["reason"]
        assert said["windows_end"] > broken, f"a false alarm: {said['reason']}"
        scrape = max(self._scrapes(self.frozen, said["windows_end"]))
        return Reflex(share, gone - scrape, restored - scrape, gone - said["windows_end"], gone - broken)

    def _deploy(self) -> Frozen:
        from inference_rollouts.core.plan.plan import parse_plan
        from inference_rollouts.preflight import freeze
        from inference_rollouts.rollout.checks import CHECKS

        plan = yaml.safe_load((CHECKOUT / "include/rollouts/llm.yaml").read_text())
        frozen = freeze(parse_plan({**plan, "steps": STEPS}), "bench/reflex", self.cluster, self.prometheus)
        for manifest in frozen.manifests:
            self.cluster.apply(manifest)
        pods = plan["workload"]["replicas"]
        _until(lambda: CHECKS["workloads"](self.cluster, frozen).phase == "ready", "the canary's pods")
        _until(lambda: len(self._scrapes(frozen, time.time())) == pods, "the canary's first scrapes")
        return frozen

    def _scrapes(self, frozen: Frozen, at: float) -> list[float]:
        """When each of the canary's pods was last scraped, as of `at`."""
        asked = f'timestamp(up{{job="vllm", inference_pool="{frozen.plan.canary}"}})'
        return [float(series["value"][1]) for series in self.prometheus.query(asked, at)]

    def _break(self, share: float) -> None:
        for pod in self.cluster.select("v1", "Pod", {"inference-pool": self.frozen.plan.canary}):
            url = f"http://{pod['status']['podIP']}:8000/lab/faults"
            requests.post(url, json={"http_500": share}, timeout=5).raise_for_status()

    def _routed(self, admin: requests.Session) -> bool:
        """Whether Envoy's routes send anything to the canary."""
        which = {"resource": "dynamic_route_configs"}
        answer = admin.get(f"{self.envoy}/config_dump", params=which, timeout=5)
        answer.raise_for_status()
        return self.frozen.plan.canary in answer.text


async def judgement(trigger: JudgeTrigger) -> Any:
    [event] = [event.payload async for event in trigger.run()]
    return event["judgement"]


def _until(true: Callable[[], bool], what: str, seconds: float = 60, poll: float = 0.2) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(poll)


@contextmanager
def theatre(folder: Path) -> Iterator[Theatre]:
    """A lab in `folder` while the context lasts. Airflow's environment must be set up already."""
    directory = StateDirectory(folder)
    lab = Startup(directory, RATE, find_prometheus(), lambda _: None)
    asyncio.run(lab.run())
    try:
        with patch.dict(os.environ, connections(directory.kubeconfig, lab.record["prometheus"]["url"])):
            yield Theatre(lab.record["envoy"]["admin_url"])
    finally:
        down(directory)


def table(runs: Sequence[Reflex]) -> str:
    """Median, 95th percentile and the longest of what was measured."""
    rows = {
        "from the scrape that decided until Envoy routes nothing to the canary": [
            r.from_scrape for r in runs
        ],
        "from that scrape until the route is as it was found": [r.to_restored for r in runs],
        "from the end of the deciding window until Envoy routes nothing": [r.from_edge for r in runs],
    }
    for share in sorted({run.share for run in runs}, reverse=True):
        name = f"from the first fault until then, {share:.0%} failing"
        rows[name] = [run.from_fault for run in runs if run.share == share]
    lines = ["| seconds | runs | median | p95 | longest |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, times in rows.items():
        figures = statistics.median(times), _p95(times), max(times)
        lines.append(f"| {name} | {len(times)} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    return "\n".join(lines)


def _p95(times: Sequence[float]) -> float:
    """The smallest time that at least 95 % do not exceed."""
    return sorted(times)[-(-95 * len(times) // 100) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures how fast a bad canary loses its traffic.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="write the table into docs/statistics.md")
    args = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory(prefix="bench-reflex-") as folder:
        airflow = settings(Path(folder) / "airflow", 0) | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
        os.environ.update({name: value for name, value in airflow.items() if name.startswith("AIRFLOW_")})
        with theatre(Path(folder) / "lab") as stage:
            for number in range(args.runs):
                runs.append(stage.run((STORM, SMALL)[number % 2]))
                print(number + 1, *(f"{seconds:.2f}" for seconds in astuple(runs[-1])), flush=True)
    print(text := table(runs))
    if args.write:
        write("bench.reflex", text)


if __name__ == "__main__":
    main()
