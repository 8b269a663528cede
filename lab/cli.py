"""The command line: `python -m lab up|down|status`."""

import argparse
import asyncio
import math
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from lab.host import processes
from lab.host.addresses import AddressError
from lab.host.processes import ProcessError
from lab.host.state import StateDirectory, StateError
from lab.lifecycle import health
from lab.lifecycle.foreign import Foreign, ForeignError
from lab.lifecycle.up import Report, Startup, down, urls
from lab.monitoring.binary import PrometheusNotFound, find_prometheus

OK, BROKEN, NOT_RUNNING = 0, 1, 3
HIGHEST_RATE = 2000.0  # as the load generator has it, a process that is met over the network alone
EXPECTED = (AddressError, ForeignError, PrometheusNotFound, ProcessError, StateError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 0 if all is well, 1 if not, 3 if `status` finds no lab."""
    arguments = _parser().parse_args(argv)
    directory = StateDirectory(arguments.dir.absolute())
    try:
        match arguments.command:
            case "up":
                return _up(directory, arguments)
            case "down":
                return _down(directory)
            case _:
                return _status(directory)
    except EXPECTED as error:
        print(f"lab: {error}", file=sys.stderr)
        return BROKEN
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("lab: stopped, nothing is left running", file=sys.stderr)
        return 130


def run_until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """asyncio.run, with TERM and HUP cancelling the work as Ctrl-C does."""

    async def watched() -> None:
        task = asyncio.current_task()
        assert task
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await work

    asyncio.run(watched())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="A local inference cluster.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the lab and wait until it serves")
    up.add_argument("--rate", type=rate, default=60.0, help="client requests a second (default 60)")
    up.add_argument("--foreground", action="store_true", help="stay, and stop the lab at Ctrl-C or TERM")
    up.add_argument(
        "--endpoint-pickers",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let each pool's endpoint picker choose the pod for every request (by default; costs a sixth "
        "of a core at 60 requests/s)",
    )
    up.add_argument("--kubeconfig", type=Path, help="use this cluster instead of an own API server")
    up.add_argument("--context", help="the kubeconfig's context (the current one by default)")
    up.add_argument("--namespace", help="the cluster's namespace (the context's own by default)")
    commands.add_parser("down", help="end every process of the lab")
    commands.add_parser(
        "status", help="is it running and whole? the exit status tells: 0, 1 broken, 3 not there"
    )
    for command in commands.choices.values():
        command.add_argument("--dir", type=Path, default=Path(".lab"), help="state directory (default .lab)")
    return parser


def rate(text: str) -> float:
    """Requests a second that the load generator will take; refused before anything is started."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= HIGHEST_RATE:
        return value
    raise argparse.ArgumentTypeError(f"{text!r} is no rate from 0 to {HIGHEST_RATE:.0f} requests a second")


def _up(directory: StateDirectory, arguments: argparse.Namespace) -> int:
    if record := directory.read():
        return _already_there(directory, record)
    foreign = None
    if arguments.kubeconfig:
        foreign = Foreign(arguments.kubeconfig, arguments.context, arguments.namespace)
    report, pickers = _timed_report(), arguments.endpoint_pickers
    startup = Startup(directory, arguments.rate, find_prometheus(), report, pickers, foreign)
    run_until_signalled(_stay(startup) if arguments.foreground else startup.run())
    if not arguments.foreground:
        _print_addresses(startup.record)
    return OK


async def _stay(startup: Startup) -> None:
    """Run the lab until cancelled, until it is stopped elsewhere, or until one of its processes ends."""
    await startup.run()
    _print_addresses(startup.record)
    try:
        while startup.directory.read():
            for process in startup.directory.processes():
                process.check_alive()
            await asyncio.sleep(1)
    finally:
        down(startup.directory)


def _already_there(directory: StateDirectory, record: dict[str, Any]) -> int:
    if not record["ready"] or not all(process.is_alive() for process in directory.processes()):
        print(f"half a lab is left in {directory.path}: run `python -m lab down` first", file=sys.stderr)
        return BROKEN
    print("already up")
    _print_addresses(record)
    return OK


def _down(directory: StateDirectory) -> int:
    running = directory.path.exists() and down(directory)
    print("lab down" if running else "no lab is running")
    return OK


def _status(directory: StateDirectory) -> int:
    record = directory.read()
    if record is None:
        print(f"no lab is running in {directory.path}")
        return NOT_RUNNING
    dead = 0
    for process in directory.processes():
        alive = process.is_alive()
        dead += not alive
        size = f"{processes.resident_bytes([process]) / 1e6:6.0f} MB" if alive else "    ENDED"
        print(f"  {process.name:12} pid {process.pid:<8} {size}  {process.log}")
    _print_addresses(record)
    problems = (
        asyncio.run(health.problems(record)) if record["ready"] else {"": "the lab did not come up wholly"}
    )
    for problem in problems.values():
        print(f"  PROBLEM {problem}")
    return BROKEN if dead or problems else OK


def _print_addresses(record: dict[str, Any]) -> None:
    for url in urls(record):
        print(f"  {url}")
    print(f"  KUBECONFIG={record['kubeconfig']}")


def _timed_report() -> Report:
    began = time.monotonic()
    return lambda text: print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)
