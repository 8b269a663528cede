"""How fast a bad canary loses its traffic: `python -m bench.reflex` breaks one again and again in a lab.

In each run the canary gets half of the traffic, the judge's trigger sees some healthy intervals, and then the
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

import requests

from bench.docs import write
from bench.stage import Stage, example, judgement, stage, until
from inference_rollouts.rollout.run import Run
from lab.airflow.settings import settings

HEALTHY = 5.0  # seconds that the judge sees before the faults
STEPS = [{"weight": 50, "bake": "1m"}, {"weight": 100, "bake": "1m"}]
STORM, SMALL = 0.8, 0.1  # shares of the canary's answers that become 500


@dataclass(frozen=True, slots=True)
class Reflex:
    """One run in which `share` of the canary's answers failed.

    Seconds until Envoy routes nothing to the canary, from three moments; and `to_restored`, from the first of
    them until the route is as it was found. The scrape that decided is the last one of a canary's pod among
    the counts of the observation that alarmed; its window's end is the second moment.
    """

    share: float
    from_scrape: float
    to_restored: float
    from_window: float
    from_fault: float


def breakable_run(stage: Stage) -> Run:
    """The run whose canary is broken."""
    return stage.freeze(example("llm", steps=STEPS), "bench/reflex")


def reflex_of(stage: Stage, run: Run, share: float) -> Reflex:
    """One reflex. Raises AssertionError when the judge did not roll back because of this fault."""
    from inference_rollouts.triggers.judge import JudgeTrigger

    since, spec, canary = time.time(), stage.route()["spec"], run.plan.canary
    run.traffic.attach()
    run.traffic.permit(0, since)
    run.traffic.shift(1, run.plan.all_steps[0], since)
    trigger = JudgeTrigger(frozen=run.frozen.to_json(), step=1, since=since)
    with ThreadPoolExecutor(1) as thread, requests.Session() as admin:
        judging = thread.submit(asyncio.run, judgement(trigger))
        # anywhere between two observations
        time.sleep(run.plan.initial_delay + HEALTHY + random.random())
        broken = time.time()
        stage.fault(canary, http_500=share)
        until(lambda: canary not in _routes(stage, admin), "Envoy to leave the canary", poll=0.01)
        gone, judged = time.time(), judging.result()
    stage.fault(canary, http_500=0.0)
    run.traffic.way_back.restore("the run is over", time.time())
    restored = time.time()
    assert stage.route()["spec"] == spec
    assert judged["verdict"] == "rollback", judged["reason"]
    window_end = judged["windows_end"]
    assert window_end > broken, f"a false alarm: {judged['reason']}"
    scrape = max(stage.scrapes(canary, window_end))
    return Reflex(share, gone - scrape, restored - scrape, gone - window_end, gone - broken)


def _routes(stage: Stage, admin: requests.Session) -> str:
    """Envoy's routes, as it has them now."""
    url, which = f"{stage.record['envoy']['admin_url']}/config_dump", {"resource": "dynamic_route_configs"}
    answer = admin.get(url, params=which, timeout=30)
    answer.raise_for_status()
    return answer.text


def table(runs: Sequence[Reflex]) -> str:
    """Median, 95th percentile and the longest of what was measured."""
    rows = {
        "from the scrape that decided until Envoy routes nothing to the canary": [
            r.from_scrape for r in runs
        ],
        "from that scrape until the route is as it was found": [r.to_restored for r in runs],
        "from the end of the observation's window until Envoy routes nothing": [r.from_window for r in runs],
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
        with stage(Path(folder) / "lab") as running:
            run = breakable_run(running)
            running.deploy(run)
            for number in range(args.runs):
                runs.append(reflex_of(running, run, (STORM, SMALL)[number % 2]))
                print(number + 1, *(f"{seconds:.2f}" for seconds in astuple(runs[-1])), flush=True)
    print(text := table(runs))
    if args.write:
        write("bench.reflex", text)


if __name__ == "__main__":
    main()
