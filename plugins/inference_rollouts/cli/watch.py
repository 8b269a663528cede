"""Shows what rollouts claim in a namespace, and who watches it, again whenever it changes; until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.cli.get import listing
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.limits import READINESS_POLL

CLEAR = "\033[2J\033[H"


def add_parser(commands: Any) -> None:
    """Add `watch` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("watch", help="show the claims of rollouts live", description=__doc__)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0, when it was interrupted."""
    start = CLEAR if sys.stdout.isatty() else ""
    look = partial(_look, cluster_of(arguments), arguments.namespace)
    with suppress(KeyboardInterrupt):
        for lines in changes(look):
            print(f"{start}{time.strftime('%H:%M:%S')}", *lines, sep="\n", flush=True)
    return 0


def changes(
    look: Callable[[], list[str]], sleep: Callable[[float], None] = time.sleep
) -> Iterator[list[str]]:
    """What is seen, whenever it is something else than before."""
    before: list[str] = []
    while True:
        if (seen := look()) != before:
            yield seen
        before = seen
        sleep(READINESS_POLL)


def _look(cluster: Cluster, namespace: str) -> list[str]:
    try:
        lines, _ = listing(cluster, namespace)
    except ClusterUnavailable as error:
        return [f"The cluster does not answer: {error}"]
    return lines
