"""Puts the weights back as a rollout found them, and lets its objects go: the way back by hand.

It needs the cluster alone: no Airflow, no plan. A promotion that was decided is completed instead.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.core.errors import NotFound
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.rollout.claims import claimed_objects, way_back_of
from inference_rollouts.rollout.confirmation import await_confirmation, confirmation


def add_parser(commands: Any) -> None:
    """Add `restore NAME` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser(
        "restore", help="put weights back as a rollout found them", description=__doc__
    )
    parser.add_argument(
        "name", metavar="NAME", help="an object that is claimed; see `inference-rollouts get`"
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
    """0 when it is restored. Raises NotFound, ClaimUnreadable, RouteDrift."""
    cluster = cluster_of(arguments)
    claimed = [each for each in claimed_objects(cluster) if each.target.name == arguments.name]
    if not claimed:
        raise NotFound(f"No rollout claims {arguments.name} in namespace {arguments.namespace}.")
    [first, *_] = claimed
    if first.claim is None:
        print(first.mistake, file=sys.stderr)
        return 1
    way_back = way_back_of(cluster, first.claim.token)
    why = "by hand, with inference-rollouts restore"
    if arguments.force:
        way_back.retreat(why)
    restored = way_back.restore(why, time.time())
    print(f"{', '.join(map(str, way_back.targets))}: {restored.value}", flush=True)
    print(_words(await_confirmation(lambda: confirmation(cluster, way_back.targets))))
    return 0


def _words(confirmed: Readiness) -> str:
    return confirmed.message if confirmed.phase is Phase.READY else f"not yet confirmed: {confirmed.message}"
