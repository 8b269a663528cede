"""What one observation costs a process that watches many: `python -m bench.scale.each [--profile FILE]`.

Rollouts are observed round after round, all of a round at once, as fast as it goes, along the way of a
trigger: queries, counts, evidence, verdict, record, lease, status. Time is simulated, so leases and statuses
come as often as they would; the cluster stands still, since its watches cost by the second. Times are CPU
seconds of this process alone, the medians of its rounds; the stand-ins are another. With `--profile`
everything is done in one thread, and its profile is written.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import yaml

from bench.scale.__main__ import kubeconfig, stand_ins
from bench.scale.watcher import resident
from bench.scale.world import INTERVAL, SCRAPE_DELAY, context_of, frozen_of
from inference_rollouts.clients import view
from inference_rollouts.core.judging.judge import Carried
from inference_rollouts.hooks.sharing import Shared, sharing
from inference_rollouts.rollout import step_observer
from inference_rollouts.rollout.step_observer import StepObserver
from lab.airflow.settings import connections

STATUS_ROUNDS = 2  # rounds between two publications of what brings no news
PATIENCE = 600.0  # seconds for an answer, and for a watch: what a busy machine takes is no part of the cost
FIRST = 4  # rounds that are not measured: series are learnt

P = ParamSpec("P")
T = TypeVar("T")


class Inline(Executor):
    """No thread at all."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


async def observed(shared: Shared, observer: StepObserver, now: float, *, publish: bool) -> None:
    """One observation as a trigger makes it, but for Airflow."""
    judgement = await shared.observe(observer, now)
    assert judgement.verdict.value != "no data" or judgement.windows_end is None, judgement.reason
    status = observer.status(judgement)
    if publish and status:
        status.to_json()


async def rounds(rollouts: int, count: int, profile: cProfile.Profile | None) -> list[float]:
    """CPU milliseconds of an observation in each round."""
    step_observer.SLOW_STORE = view.WATCH_SECONDS = view.VIEW_AGE = PATIENCE  # type: ignore[attr-defined]
    began = now = time.time()
    frozen = [frozen_of(number) for number in range(rollouts)]
    async with sharing(frozen[0].plan) as shared:
        if profile:
            shared.asking = shared.observing = Inline()
        [clients] = shared.clients.values()
        clients.cluster.time = lambda: now  # type: ignore[method-assign]
        observers = [shared.observer(each, context_of(each, began), Carried()) for each in frozen]
        spent = []
        for number in range(FIRST + count):
            now = began + number * INTERVAL + SCRAPE_DELAY
            if profile and number == FIRST:
                profile.enable()
            cpu, publish = time.process_time(), number % STATUS_ROUNDS == 0
            await asyncio.gather(*(observed(shared, each, now, publish=publish) for each in observers))
            spent.append(1000 * (time.process_time() - cpu) / rollouts)
        if profile:
            profile.disable()
    return spent[FIRST:]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what an observation costs.")
    parser.add_argument("--rollouts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--profile", help="where to write the profile")
    args = parser.parse_args()
    profile = cProfile.Profile(time.thread_time) if args.profile else None
    with stand_ins(args.rollouts, time.time(), PATIENCE) as url, tempfile.TemporaryDirectory() as home:
        config = Path(home) / "kubeconfig"
        config.write_text(yaml.safe_dump(kubeconfig(url)))
        os.environ.update(connections(config, url))
        spent: list[Any] = asyncio.run(rounds(args.rollouts, args.rounds, profile))
    low, middle, high = statistics.quantiles(spent, n=4)
    print(
        f"{args.rollouts} rollouts, {args.rounds} rounds: {middle:.2f} ms of CPU time an observation "
        f"(quartiles {low:.2f} and {high:.2f}, least {min(spent):.2f}); {resident():.0f} MB."
    )
    if profile:
        profile.dump_stats(args.profile)


if __name__ == "__main__":
    main()
