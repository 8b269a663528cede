"""Lets the rollouts of a namespace go on that `stop` has held; those that people paused stay paused."""

from __future__ import annotations

import argparse
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.cli.person import add_person
from inference_rollouts.rollout.claims import claimed_objects
from inference_rollouts.rollout.control import obey_all
from inference_rollouts.rollout.switch import put_back


def add_parser(commands: Any) -> None:
    """Add `go` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("go", help="let rollouts go on that were stopped", description=__doc__)
    add_person(parser)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0, whether anything was stopped or not."""
    cluster = cluster_of(arguments)
    print(put_back(cluster, arguments.who, arguments.reason))
    obey_all(cluster, claimed_objects(cluster))
    return 0
