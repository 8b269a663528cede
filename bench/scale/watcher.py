"""A process that watches as a triggerer does: `python -m bench.scale.watcher ROLLOUTS SINCE SECONDS URL`.

Prints what it cost once all are watched, as JSON: CPU, memory, and how late judgements were.
"""

from __future__ import annotations

import asyncio
import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import requests

from bench.scale.world import INTERVAL, SCRAPE_DELAY, frozen_of
from inference_rollouts.core.judging.judge import Judgement
from inference_rollouts.hooks.sharing import Shared
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.judge import JudgeTrigger

FIRST = 0.1  # seconds for each until all are on time: what a first observation takes, beside those of others
Asked = dict[str, dict[str, int]]
"""Requests and bytes, by whom they were asked of."""
Observe = Callable[[Shared, StepObserver, float], Awaitable[Judgement]]


class Lateness:
    """How long after its tick each judgement came, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.no_data = 0

    def of(self, observe: Observe) -> Observe:
        async def observing(shared: Shared, observer: StepObserver, now: float) -> Judgement:
            judgement = await observe(shared, observer, now)
            late = time.time() - observer.context.anchor - SCRAPE_DELAY
            self.seconds.append(late - INTERVAL * math.floor(late / INTERVAL))
            self.no_data += judgement.verdict.value == "no data"
            return judgement

        return observing


async def watched(trigger: JudgeTrigger) -> None:
    async for event in trigger.run():
        print(event.payload, file=sys.stderr)


async def measured(rollouts: int, since: float, seconds: float, url: str) -> dict[str, Any]:
    lateness = Lateness()
    Shared.observe = lateness.of(Shared.observe)  # type: ignore[assignment, method-assign]
    began = time.process_time()
    loop = asyncio.get_running_loop()
    tasks = []
    for number in range(rollouts):
        begun = since + INTERVAL * number / rollouts
        trigger = JudgeTrigger(frozen=frozen_of(number).to_json(), step=1, since=begun)
        tasks.append(loop.create_task(watched(trigger)))
        await asyncio.sleep(INTERVAL / rollouts)
    started, peak = time.process_time() - began, 0.0
    await asyncio.sleep(3 * INTERVAL + FIRST * rollouts)
    lateness.seconds.clear()
    lateness.no_data = 0
    before = await asyncio.to_thread(counted, url)
    cpu, then = time.process_time(), time.monotonic()
    while time.monotonic() < then + seconds:
        await asyncio.sleep(0.5)
        peak = max(peak, resident())
    whole = time.monotonic() - then
    cores = (time.process_time() - cpu) / whole
    asked = await asyncio.to_thread(counted, url)
    late = sorted(lateness.seconds)
    ended = sum(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return figures(rollouts, cores, peak, late, whole, before, asked) | {
        "started": started,
        "late": statistics.median(late) if late else None,
        "no_data": lateness.no_data,
        "ended": ended,
    }


def figures(
    rollouts: int,
    cores: float,
    megabytes: float,
    late: list[float],
    seconds: float,
    before: Asked,
    after: Asked,
) -> dict[str, Any]:
    """Of `rollouts` that were watched for so many seconds, with judgements that were so `late`, in order."""
    return {
        "rollouts": rollouts,
        "cores": cores,
        "megabytes": megabytes,
        "observations": len(late) / seconds,
        "seconds": seconds,
        "expected": rollouts / INTERVAL,
        "milliseconds": 1000 * cores * seconds / max(len(late), 1),
        "late95": late[int(0.95 * len(late))] if late else None,
        "asked": {
            what: {who: count - before[what].get(who, 0) for who, count in after[what].items()}
            for what in after
        },
    }


def counted(url: str) -> Asked:
    """What the stand-ins were asked so far, and how many bytes they answered."""
    told: Asked = requests.get(f"{url}/counted", timeout=30).json()
    return told


def resident() -> float:
    """MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    rollouts, since, seconds, url = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    print(json.dumps(asyncio.run(measured(rollouts, since, seconds, url))))


if __name__ == "__main__":
    main()
