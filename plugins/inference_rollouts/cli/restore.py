"""Puts the weights back as a rollout found them, and lets its objects go: the way back by hand.

It needs the cluster alone: no Airflow, no plan. A promotion that was decided is completed instead.
"""

from __future__ import annotations

import argparse
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.rollout.claims import rollout_called, way_back_of
from inference_rollouts.rollout.confirmation import await_confirmation, confirmation


def add_parser(commands: Any) -> None:
    """Add `restore NAME` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser(
        "restore", help="put weights back as a rollout found them", description=__doc__
    )
    parser.add_argument(
        "name", metavar="NAME", help="a plan, or an object that is claimed; see `inference-rollouts get`"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="also where others changed weights meanwhile: stable gets what it and the canary have together, "
        "and what others put beside them stays",
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when it is restored. Raises NotFound, CommandRefused, ClaimUnreadable, RouteDrift."""
    cluster = cluster_of(arguments)
    token, _ = rollout_called(cluster, arguments.name)
    way_back = way_back_of(cluster, token)
    why = "by hand, with inference-rollouts restore"
    if arguments.force:
        way_back.retreat(why)
    restored = way_back.restore(why, cluster.time())
    print(f"{', '.join(map(str, way_back.targets))}: {restored.value}", flush=True)
    print(_words(await_confirmation(lambda: confirmation(cluster, way_back.targets))))
    return 0


def _words(confirmed: Readiness) -> str:
    return confirmed.message if confirmed.phase is Phase.READY else f"not yet confirmed: {confirmed.message}"
