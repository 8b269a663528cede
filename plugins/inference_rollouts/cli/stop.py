"""Stops all rollouts of a namespace: holds them, or sends all back, until `go` or its time is over.

No raise begins from then on, whoever runs the rollout; it takes the cluster alone: no Airflow, no plan.
"""

from __future__ import annotations

import argparse
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.cli.numbers import duration
from inference_rollouts.cli.person import add_person
from inference_rollouts.core.routing.switch import Mode
from inference_rollouts.rollout.claims import by_token, claimed_objects
from inference_rollouts.rollout.control import obey_all
from inference_rollouts.rollout.switch import throw


def add_parser(commands: Any) -> None:
    """Add `stop` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("stop", help="hold all rollouts, or send all back", description=__doc__)
    parser.add_argument(
        "--back", action="store_true", help="send all back to what served before, instead of holding them"
    )
    parser.add_argument(
        "--for", dest="seconds", type=duration, default="4h", metavar="TIME", help="until it ends (4h)"
    )
    add_person(parser)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when all is stopped. Raises CommandRefused."""
    cluster, mode = cluster_of(arguments), Mode.BACK if arguments.back else Mode.HOLD
    print(f"{throw(cluster, mode, arguments.who, arguments.reason, arguments.seconds)}.")
    changed, every = obey_all(cluster, claimed_objects(cluster)), by_token(claimed_objects(cluster))
    print(
        f"In namespace {arguments.namespace}: {len(every)} in flight, {len(changed)} of them changed by this."
    )
    return 0
