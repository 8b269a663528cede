"""Commands a rollout in flight (pause, resume, skip_bake, raise_now, promote_now, abort), or undoes the last.

It is obeyed within one observation by whoever watches the rollout; nothing can be raised any more from the
moment at which a pause or an abort is left on the claims. It needs the cluster alone: no Airflow, no plan.
"""

from __future__ import annotations

import argparse
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.cli.person import add_person
from inference_rollouts.core.routing.claim import What
from inference_rollouts.rollout.command import command

_MEANING = (
    "pause: the canary keeps its share; resume: it goes on; skip_bake: this step need bake no longer; "
    "raise_now: this step passes with the next look that is no alarm; promote_now: so does every step that "
    "is left; abort: all traffic goes back; undo: the last promotion is taken back"
)


def add_parser(commands: Any) -> None:
    """Add `control NAME COMMAND` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("control", help="pause, resume, hurry, abort or undo", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="a plan, or an object that is claimed")
    parser.add_argument("what", metavar="COMMAND", choices=[what.value for what in What], help=_MEANING)
    add_person(parser)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when the command stands. Raises NotFound, CommandRefused, ClaimLost, RouteDrift."""
    told = command(cluster_of(arguments), arguments.name, arguments.what, arguments.who, arguments.reason)
    print(told)
    return 0
