"""Prints the JSON schema of plan files, by which editors check and complete them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from inference_rollouts.core.plan.plan import plan_schema


def add_parser(commands: Any) -> None:
    """Add `schema` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("schema", help="the JSON schema of plan files", description=__doc__)
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """0."""
    print(json.dumps(plan_schema(), indent=2))
    return 0
