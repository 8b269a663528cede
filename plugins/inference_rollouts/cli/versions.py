"""Shows what became of a plan's versions, and lets one that was rolled back be rolled out again.

The cluster remembers it, so this needs neither Airflow nor the plan's file.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.cli.person import add_who
from inference_rollouts.core.errors import NotFound
from inference_rollouts.core.versions.memory import Allowed, Became, Fate, Memory
from inference_rollouts.core.versions.version import Version
from inference_rollouts.preflight.versions import memory_of
from inference_rollouts.rollout.versions import allow


def add_parser(commands: Any) -> None:
    """Add `versions NAME` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("versions", help="what became of a plan's versions", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="the plan's name")
    parser.add_argument(
        "--allow", metavar="VERSION", help="a version that was rolled back, by its name or digest"
    )
    parser.add_argument("--reason", help="why it may be rolled out again; --allow needs it")
    add_who(parser)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0. Raises NotFound for a version that nobody has rolled back; ClusterRefused."""
    cluster = cluster_of(arguments)
    memory = memory_of(cluster, arguments.name)
    if not arguments.allow:
        lines = [_line(fate) for fate in reversed(memory.fates)]
        print(*lines or [f"No version of plan {arguments.name} has been rolled out here."], sep="\n")
        return 0
    if not (arguments.reason or "").strip():
        print("Say why, for those who come after you: --reason REASON", file=sys.stderr)
        return 2
    for version in _refused(memory, arguments.allow):
        allowed = Allowed(by=arguments.who, because=arguments.reason.strip(), at=cluster.time())
        allow(cluster, arguments.name, memory, version, allowed)
        print(f"{version.short} may be rolled out again.")
    return 0


def _refused(memory: Memory, named: str) -> list[Version]:
    """The versions of this name or digest that were rolled back. Raises NotFound where there is none."""
    refusing = [fate.version for fate in memory.fates if memory.refused(fate.version)]
    found = {each.identity: each for each in refusing if named in (each.name, each.digest, str(each))}
    if not found:
        raise NotFound(f"No version {named!r} is kept out by a rollback; nothing was changed.")
    return list(found.values())


def _line(fate: Fate) -> str:
    """One fate: when, which version, what became of it, in which run, why, and who allowed it again."""
    when = datetime.fromtimestamp(fate.at, UTC)
    line = f"{when:%Y-%m-%d %H:%M}Z  {fate.version.short}  {fate.became.value}  by {fate.run}"
    if fate.became is Became.ROLLED_BACK and fate.why:
        line += f": {fate.why}"
    if fate.allowed:
        line += f"  (allowed again by {fate.allowed.by}: {fate.allowed.because})"
    return line
