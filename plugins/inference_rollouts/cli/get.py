"""Lists what rollouts claim in a namespace, and who watches it, from the cluster alone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, ClusterUnavailable
from inference_rollouts.core.routing.watch import Watch, lease_name, watched_by
from inference_rollouts.rollout.claims import Claimed, claimed_objects
from inference_rollouts.rollout.watching import watches

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
    lines, whole = listing(cluster_of(arguments), arguments.namespace)
    print(*lines, sep="\n")
    return int(not whole)


def listing(cluster: Cluster, namespace: str) -> tuple[list[str], bool]:
    """A table of all claims, and what is wrong with them; whether nothing is."""
    claimed = claimed_objects(cluster)
    if not claimed:
        return [f"No rollout claims anything in namespace {namespace}."], True
    seen, now = _watches(cluster), cluster.time()
    rows = [_row(each, seen, now) for each in claimed]
    mistakes = [each.mistake for each in claimed if each.mistake]
    return [*_table([HEAD, *rows]), *mistakes], not mistakes


def _watches(cluster: Cluster) -> Mapping[str, Watch | None] | None:
    """Who watches; None where this may not be read."""
    try:
        return watches(cluster)
    except (ClusterRefused, ClusterUnavailable):
        return None


def _row(claimed: Claimed, seen: Mapping[str, Watch | None] | None, now: float) -> tuple[str, ...]:
    claim, name = claimed.claim, f"{claimed.target.kind.lower()}/{claimed.target.name}"
    if claim is None:
        return (name, *["?"] * (len(HEAD) - 1))
    since = f"{datetime.fromtimestamp(claim.since, UTC):%Y-%m-%dT%H:%M:%SZ}" if claim.since else "-"
    share = f"{claim.mirror} % mirrored" if claim.mirror else f"{claim.percent} %"
    step = f"{claim.step}/{claim.steps}"
    arms = (claim.plan or "-", claim.stable, claim.canary)
    watch = (seen or {}).get(lease_name(claimed.target))
    watch = watch if watch and watch.token == claim.token else None
    verdict = watch.verdict if watch and watch.verdict else "-"
    watcher = "?" if seen is None else watched_by(watch, now)
    return (name, *arms, step, share, claim.phase.value, since, verdict, watcher, claim.owner.run)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
