"""Lists what rollouts claim in a namespace, and who watches it, from the cluster alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.rollout.claims import Claimed
from inference_rollouts.rollout.overview import Overview, overview

HEAD = (
    "OBJECT", "PLAN", "STABLE", "CANARY", "STEP", "SHARE", "PHASE", "SINCE", "VERDICT", "WATCHED BY", "RUN",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    """Add `get` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("get", help="list the claims of rollouts", description=__doc__)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0, whether there are any or none; 1 when a claim is unreadable."""
    seen = overview(cluster_of(arguments))
    print(*listing(seen, arguments.namespace), sep="\n")
    return int(bool(seen.mistakes))


def listing(seen: Overview, namespace: str) -> list[str]:
    """A table of all claims, the headline of each rollout, and what is wrong with claims."""
    if not seen.claimed:
        return [f"No rollout claims anything in namespace {namespace}."]
    headlines = [f"{each.canary}: {each.headline}" for each in seen.statuses]
    return [*_table([HEAD, *(_row(each, seen) for each in seen.claimed)]), *headlines, *seen.mistakes]


def _row(claimed: Claimed, seen: Overview) -> tuple[str, ...]:
    claim, name = claimed.claim, f"{claimed.target.kind.lower()}/{claimed.target.name}"
    if claim is None:
        return (name, *["?"] * (len(HEAD) - 1))
    since = f"{datetime.fromtimestamp(claim.since, UTC):%Y-%m-%dT%H:%M:%SZ}" if claim.since else "-"
    share = f"{claim.mirror} % mirrored" if claim.mirror else f"{claim.percent} %"
    step = f"{claim.step}/{claim.steps}"
    arms = (claim.plan or "-", claim.stable, claim.canary)
    watch = seen.watches.get(claimed.target)
    verdict = watch.progress.verdict if watch and watch.progress else "-"
    watcher = seen.watcher(claimed.target)
    return (name, *arms, step, share, claim.phase.value, since, verdict, watcher, claim.owner.run)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
