"""Lists what rollouts claim in a namespace, from the cluster alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.rollout.claims import Claimed, claimed_objects

HEAD = ("OBJECT", "PLAN", "STABLE", "CANARY", "STEP", "SHARE", "PHASE", "SINCE", "RUN")


def add_parser(commands: Any) -> None:
    """Add `get` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("get", help="list the claims of rollouts", description=__doc__)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0, whether there are any or none; 1 when a claim is unreadable."""
    claimed = claimed_objects(cluster_of(arguments))
    if not claimed:
        print(f"No rollout claims anything in namespace {arguments.namespace}.")
        return 0
    print(*_table([HEAD, *map(_row, claimed)]), sep="\n")
    mistakes = [each.mistake for each in claimed if each.mistake]
    print(*mistakes, sep="\n", end="\n" if mistakes else "")
    return int(bool(mistakes))


def _row(claimed: Claimed) -> tuple[str, ...]:
    claim, name = claimed.claim, f"{claimed.target.kind.lower()}/{claimed.target.name}"
    if claim is None:
        return (name, *["?"] * (len(HEAD) - 1))
    since = f"{datetime.fromtimestamp(claim.since, UTC):%Y-%m-%dT%H:%M:%SZ}" if claim.since else "-"
    share = f"{claim.mirror} % mirrored" if claim.mirror else f"{claim.percent} %"
    step = f"{claim.step}/{claim.steps}"
    arms = (claim.plan or "-", claim.stable, claim.canary)
    return (name, *arms, step, share, claim.phase.value, since, claim.owner.run)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
