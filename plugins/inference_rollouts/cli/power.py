"""What a plan's steps can detect, and whether a good canary is promoted in time, without starting anything.

Traffic is assumed, not measured: --rate requests/s, of which --bad are bad at each threshold of each metric.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from inference_rollouts.cli.numbers import rate, share
from inference_rollouts.clients.include import load_metric_set, load_plan
from inference_rollouts.core.judging.power import Traffic, markdown, shortfalls, step_powers
from inference_rollouts.core.judging.promotion import late


def add_parser(commands: Any) -> None:
    """Add `power FILE` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("power", help="what a plan's steps can detect", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the plan's file")
    parser.add_argument("--rate", type=rate, default=20.0, help="requests/s of the whole service (20)")
    parser.add_argument("--bad", type=share, default=0.01, help="usual share of bad events (0.01)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when every step detects what the plan wants and promotion comes in time, 1 when not.

    Raises PlanInvalid.
    """
    plan = load_plan(arguments.file)
    metric_set = load_metric_set(*plan.metrics)
    traffic = {
        metric.name: Traffic(rate=arguments.rate, shares=(arguments.bad,) * len(metric.thresholds))
        for metric in metric_set.judged
    }
    powers = step_powers(plan.analysis, metric_set, plan.all_steps, traffic)
    missed = shortfalls(plan.analysis, powers) + late(plan.analysis, metric_set, plan.all_steps, traffic)
    print(markdown(plan.analysis, powers), *missed, sep="\n")
    return int(bool(missed))
