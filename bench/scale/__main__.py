"""`python -m bench.scale [--rollouts 1 10 100 1000]`: what watching many rollouts at 5 s costs one process.

A watcher and its stand-ins are processes of their own. Times are CPU seconds, so that a busy machine changes
little; how late judgements are says something on a quiet one only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.docs import write
from bench.scale.world import CHURN
from lab.airflow.settings import connections

CHECKOUT = Path(__file__).resolve().parents[2]
LONGEST = 300.0  # seconds that a watcher may take beside those that are measured
HERE = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'plugins'}", "NO_PROXY": "127.0.0.1"}


@contextmanager
def stand_ins(rollouts: int, since: float, churn: float = CHURN) -> Iterator[str]:
    """Their address."""
    argv = [sys.executable, "-m", "bench.scale.standins", str(rollouts), str(since), str(churn)]
    with subprocess.Popen(argv, cwd=CHECKOUT, env=HERE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def kubeconfig(url: str) -> dict[str, Any]:
    """Of one cluster without credentials."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


def measured(rollouts: int, seconds: float, quiet: bool) -> dict[str, Any]:
    """What a watcher of so many costs."""
    since = time.time()
    with stand_ins(rollouts, since) as url, tempfile.TemporaryDirectory(prefix="bench-scale-") as home:
        config = Path(home) / "kubeconfig"
        config.write_text(yaml.safe_dump(kubeconfig(url)))
        environment = HERE | connections(config, url) | {"AIRFLOW_HOME": home}
        argv = [
            sys.executable,
            "-m",
            "bench.scale.watcher",
            str(rollouts),
            str(time.time()),
            str(seconds),
            url,
        ]
        run = subprocess.run(
            argv,
            cwd=CHECKOUT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            check=True,
            timeout=seconds + LONGEST,
        )
    [line] = [each for each in run.stdout.splitlines() if each.startswith("{")]  # beside what is logged
    told: dict[str, Any] = json.loads(line)
    return told


def row(told: dict[str, Any]) -> str:
    """One row of the table."""
    late = "-" if told["late95"] is None else f"{told['late95']:.2f} s"
    whole = told["seconds"]
    asked = {who: count / whole for who, count in told["asked"]["requests"].items()}
    size = sum(told["asked"]["bytes"].values()) / whole / 1e6
    cells = (
        f"{told['rollouts']:,}",
        f"{told['observations']:.1f} of {told['expected']:.1f}",
        f"{told['milliseconds']:.1f} ms",
        f"{told['cores']:.2f}",
        f"{told['megabytes']:.0f} MB",
        late,
        f"{asked.get('store', 0):.1f}",
        f"{asked.get('cluster', 0):.1f}",
        f"{size:.1f} MB",
    )
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "rollouts",
    "observations/s",
    "CPU each",
    "cores",
    "memory",
    "late (p95)",
    "queries/s",
    "cluster/s",
    "bytes/s",
)
HEAD = (f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what watching many rollouts costs.")
    parser.add_argument("--rollouts", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--loud", action="store_true", help="show what the watcher logs")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    args = parser.parse_args()
    rows = list(HEAD)
    print("\n".join(rows), flush=True)
    for rollouts in args.rollouts:
        rows.append(row(measured(rollouts, args.seconds, not args.loud)))
        print(rows[-1], flush=True)
    if args.write:
        write("scale", "\n".join(rows), "performance.md")


if __name__ == "__main__":
    main()
