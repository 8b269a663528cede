"""`python -m lab.demo [--kind KIND] [--exit]`: rollouts of a kind, or a night of them, in their own lab."""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from lab.airflow.client import AirflowError
from lab.cli import EXPECTED, rate, run_until_signalled
from lab.demo.night import NIGHT, play_night
from lab.demo.play import Failed, play, tell_rollouts
from lab.demo.screen import Screen
from lab.demo.story import STORIES
from lab.host.state import StateDirectory
from lab.kube.client import KubeError


def main() -> int:
    """Exit status 0 if both rollouts ended as they should, 1 if not, 130 when interrupted."""
    arguments = _parser().parse_args()
    live = sys.stdout.isatty()
    colours = live and "NO_COLOR" not in os.environ
    screen = Screen(live=live, colours=colours, width=shutil.get_terminal_size((100, 30)).columns)
    directory = StateDirectory(arguments.dir.absolute())
    try:
        run_until_signalled(_play(screen, directory, arguments))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except (Failed, AirflowError, KubeError, *EXPECTED) as error:
        screen.say(f"demo: {error}")
        return 1
    return 0


def _play(
    screen: Screen, directory: StateDirectory, arguments: argparse.Namespace
) -> Coroutine[Any, Any, None]:
    if arguments.kind == NIGHT:
        return play_night(screen, directory, arguments.exit)
    tell = partial(tell_rollouts, STORIES[arguments.kind])
    return play(screen, directory, tell, arguments.rate, arguments.exit)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description=__doc__)
    parser.add_argument("--kind", choices=[*STORIES, NIGHT], default="base-model", help="what is rolled out")
    parser.add_argument("--exit", action="store_true", help="end after the rollouts instead of staying up")
    parser.add_argument("--rate", type=rate, default=80.0, help="client requests a second (default 80)")
    parser.add_argument("--dir", type=Path, default=Path(".lab"), help="state directory (default .lab)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
