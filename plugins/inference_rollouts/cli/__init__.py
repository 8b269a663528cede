"""The command line, `inference-rollouts COMMAND`. It needs no Airflow."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from inference_rollouts import __version__
from inference_rollouts.cli import (
    control,
    get,
    go,
    guardian,
    plan,
    power,
    rejudge,
    replay,
    restore,
    schema,
    stop,
    versions,
    watch,
    windows,
)
from inference_rollouts.core.errors import PassingError, RolloutError

COMMANDS = (
    get,
    watch,
    control,
    stop,
    go,
    restore,
    guardian,
    plan,
    power,
    windows,
    versions,
    replay,
    rejudge,
    schema,
)


def main(arguments: list[str] | None = None) -> int:
    """The command's exit status; 2, and one sentence on standard error, when it could not be done.

    130, without a word, when somebody has interrupted it, and 141 when nobody reads on, as of `| head`.
    """
    parser = argparse.ArgumentParser(
        prog="inference-rollouts", description="Rollouts of LLM inference pools, at a terminal."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
        sys.stdout.flush()
    except (RolloutError, PassingError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
        return 128 + signal.SIGPIPE
    return status
