"""When a plan's windows are open next, and whether a rollout that began now could finish in them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from inference_rollouts.clients.include import load_plan
from inference_rollouts.core.run.pace import pace_of
from inference_rollouts.core.schedule.outlook import openings, outlook
from inference_rollouts.preflight.calendar import calendar_of


def add_parser(commands: Any) -> None:
    """Add `windows FILE` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("windows", help="when a plan may move traffic", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the plan's file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0. Raises PlanInvalid; WindowClosed when a rollout that began now could not finish."""
    plan, now = load_plan(arguments.file), time.time()
    calendar = calendar_of(plan)
    when = openings(calendar, now) if calendar.restricts else ["any time"]
    print(*when, *outlook(calendar, pace_of(plan), now), sep="\n")
    return 0
