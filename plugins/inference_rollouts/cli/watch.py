"""Shows where the rollouts of a namespace are, live, from the cluster alone; until Ctrl-C.

At a terminal it paints one block; elsewhere it adds lines whenever they change.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.cli.screen import Screen
from inference_rollouts.core.durations import spoken
from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.limits import READINESS_POLL
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.claim import LastEnding, Phase
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.overview import Overview, overview

T = TypeVar("T")


def add_parser(commands: Any) -> None:
    """Add `watch [NAME]` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("watch", help="show live where rollouts are", description=__doc__)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="only what this plan, or this object, is concerned with"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text")
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0, when it was interrupted."""
    cluster = cluster_of(arguments)
    live = sys.stdout.isatty() and arguments.output == "text"
    screen = Screen(live, shutil.get_terminal_size((100, 24)).columns)

    def look() -> list[str]:
        try:
            seen = overview(cluster)
        except ClusterUnavailable as error:
            return [_json(Overview((), {}, False, {}, 0.0), str(error)) if as_json else str(error)]
        seen = seen.of(arguments.name) if arguments.name else seen
        return [_json(seen)] if as_json else block(seen, arguments.namespace, screen)

    as_json = arguments.output == "json"
    with suppress(KeyboardInterrupt):
        for lines in changes(look):
            screen.paint(lines if as_json else [screen.style("dim", time.strftime("%H:%M:%S")), *lines])
    return 0


def changes(look: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> Iterator[T]:
    """What is seen, whenever it is something else than before."""
    before: T | None = None
    while True:
        if (seen := look()) != before:
            yield seen
        before = seen
        sleep(READINESS_POLL)


def block(seen: Overview, namespace: str, screen: Screen) -> list[str]:
    """All rollouts as text; where there are none, how the last ones ended."""
    lines = [line for status in seen.statuses for line in _rollout(status, screen)]
    lines += [screen.style("red", mistake) for mistake in seen.mistakes]
    if not seen.claimed:
        lines = [f"No rollout claims anything in namespace {namespace}."]
        lines += [_ending(target, last) for target, last in seen.endings.items()]
    return [cut for line in lines for cut in (_folded(line, screen) if screen.live else [line])]


def _rollout(status: Status, screen: Screen) -> Iterator[str]:
    """Its headline, how far its step is, what the judge says, and where to read on."""
    alarmed = status.phase is Phase.RETURNING
    yield screen.style("bold", f"{status.stable} -> {status.canary}")
    yield f"  {screen.style('red' if alarmed else 'green', status.headline)}"
    if progress := status.progress:
        if screen.live:
            share = progress.baked / progress.bake if progress.bake else 1.0
            yield f"  {screen.bar(share)} {spoken(progress.baked)} of {spoken(progress.bake)}"
        yield f"  judge: {progress.verdict}: {progress.reason}"
    yield screen.style("dim", f"  plan {status.plan}, run {status.run} {status.link}".rstrip())


def _ending(target: Target, last: LastEnding) -> str:
    at = f"{datetime.fromtimestamp(last.at, UTC):%Y-%m-%d %H:%M:%S} UTC" if last.at else "at an unknown time"
    return f"{target}: {last.ending.value} {at} by {last.run or 'nobody knows'}{last.why and f': {last.why}'}"


def _folded(line: str, screen: Screen) -> list[str]:
    """Long lines would wrap by themselves, and be painted over only in part. Styles are whole lines'."""
    return textwrap.wrap(line, max(40, screen.width), subsequent_indent="  ") or [line]


def _json(seen: Overview, error: str = "") -> str:
    """One line: all rollouts, unreadable claims, and why nothing is known."""
    value: dict[str, Any] = {
        "rollouts": [status.to_json() for status in seen.statuses],
        "mistakes": seen.mistakes,
        "endings": {str(target): last.model_dump(mode="json") for target, last in seen.endings.items()},
    }
    return json.dumps(value | ({"error": error} if error else {}))
