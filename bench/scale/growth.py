"""Does a rollout cost in its tenth hour what it costs in its first? `python -m bench.scale.growth`.

One observer sees one interval after the other, as fast as it can, against the stand-ins. The slope of its
memory is that of a line through the second half, when all that is bounded is full.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from bench.scale.__main__ import kubeconfig, stand_ins
from bench.scale.watcher import resident
from bench.scale.world import INTERVAL, NAMESPACE, context_of, frozen_of
from inference_rollouts.core.judging.judge import Carried
from inference_rollouts.hooks.clients import clients_at
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.step_observer import StepObserver
from lab.airflow.settings import connections

EVERY = 50  # intervals between two looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures whether an observer grows.")
    parser.add_argument("--intervals", type=int, default=6000)
    args = parser.parse_args()
    now, frozen = time.time(), frozen_of(0)
    memory: list[float] = []
    cpu: list[float] = []
    with stand_ins(1, now) as url, tempfile.TemporaryDirectory(prefix="bench-growth-") as home:
        config = Path(home) / "kubeconfig"
        config.write_text(yaml.safe_dump(kubeconfig(url)))
        os.environ.update(connections(config, url))
        clients = clients_at(frozen.plan.connections, NAMESPACE)
        observer = StepObserver(
            Run(frozen, clients, kind_of(frozen.plan)), context_of(frozen, now), Carried()
        )
        for place in range(args.intervals):
            now += INTERVAL
            observer.observe(now)
            if place % EVERY == 0:
                gc.collect()
                memory.append(resident())
                cpu.append(time.process_time())
        assert clients.view
        clients.view.close()
    half = len(memory) // 2
    times = np.arange(len(memory))[half:] * EVERY
    [[slope, _], noise] = np.polyfit(times, memory[half:], 1, cov=True)
    first, second = cpu[half] - cpu[0], cpu[-1] - cpu[half]
    grown = f"{1e6 * slope:.0f} +- {1e6 * noise[0, 0] ** 0.5:.0f} bytes an interval"
    print(
        f"{args.intervals} intervals: {memory[1]:.0f} MB at first, {memory[half]:.0f} MB after half of them, "
        f"{memory[-1]:.0f} MB in the end: {grown}. "
        f"{1000 * first / (half * EVERY):.1f} ms of CPU time each in the first half, "
        f"{1000 * second / ((len(cpu) - 1 - half) * EVERY):.1f} ms in the second."
    )


if __name__ == "__main__":
    main()
