"""What a plan's steps can see, without starting anything: `python -m inference_rollouts.power PLAN`.

Traffic is assumed, not measured: `--rate` requests/s, of which `--bad` are bad at every edge of every metric.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from inference_rollouts.clients.include import load_metric_set, load_plan
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.power import Traffic, markdown, shortfalls, step_powers


def main(arguments: list[str] | None = None) -> int:
    """0 when every step sees what the plan wants it to catch, 1 when one may miss it, 2 for a bad plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--rate", type=float, default=20.0, help="requests/s of the whole service (20)")
    parser.add_argument("--bad", type=float, default=0.01, help="usual share of bad events (0.01)")
    given = parser.parse_args(arguments)
    try:
        plan = load_plan(given.plan)
        metric_set = load_metric_set(plan.metrics)
    except PlanInvalid as error:
        print(error, file=sys.stderr)
        return 2
    traffic = {
        metric.name: Traffic(rate=given.rate, shares=(given.bad,) * len(metric.thresholds))
        for metric in metric_set.metrics
    }
    found = step_powers(plan.analysis, metric_set, plan.all_steps, traffic)
    missed = shortfalls(plan.analysis, found)
    print(markdown(plan.analysis, found), *missed, sep="\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
