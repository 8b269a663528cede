"""The same through a real triggerer: `python -m bench.scale.triggerer [--rollouts 100]`.

Airflow runs as a whole beside it, on SQLite; the figures are of the triggerer and its runner alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from bench.docs import write
from bench.scale.__main__ import HEAD, HERE, kubeconfig, row, stand_ins
from bench.scale.triggered import DAG_ID, LATE
from bench.scale.watcher import counted, figures
from bench.scale.world import INTERVAL
from lab.airflow.settings import connections
from lab.airflow.standalone import Airflow
from lab.host.processes import Process, cpu_seconds, resident_bytes

PATIENCE = 180.0  # seconds until all are watched
SETTLED = 20.0  # seconds after which first observations are over
DAG_FILE = """# Airflow looks into files alone that name it.
from bench.scale.triggered import dag_of

dag = dag_of({rollouts}, {since})
"""


def measured(rollouts: int, seconds: float) -> dict[str, Any]:
    """What a triggerer with so many judges costs."""
    since = time.time()
    with stand_ins(rollouts, since) as url, tempfile.TemporaryDirectory(prefix="bench-triggerer-") as name:
        home = Path(name)
        (home / "kubeconfig").write_text(yaml.safe_dump(kubeconfig(url)))
        (home / "dags").mkdir()
        (home / "dags" / "watched.py").write_text(DAG_FILE.format(rollouts=rollouts, since=since))
        environment = connections(home / "kubeconfig", url) | {
            "PYTHONPATH": HERE["PYTHONPATH"],
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            LATE: str(home / "late"),
        }
        with Airflow(home / "airflow", environment) as airflow:
            client = airflow.client()
            client.wait_for_dag(DAG_ID)
            client.set_paused(DAG_ID, False)
            client.trigger(DAG_ID)
            _all_watched(home / "late", rollouts)
            return _measured(airflow.processes["triggerer"], home / "late", url, rollouts, seconds)


def _all_watched(file: Path, rollouts: int) -> None:
    """Wait until there were as many judgements in an interval as there are rollouts."""
    deadline = time.monotonic() + PATIENCE
    while len(_late(file, time.time() - INTERVAL)) < 0.95 * rollouts:
        assert time.monotonic() < deadline, "not all are watched"
        time.sleep(0.5)
    time.sleep(SETTLED)


def _late(file: Path, since: float) -> list[float]:
    """How late the judgements since then were, in order."""
    if not file.exists():
        return []
    noted = [line.split() for line in file.read_text().splitlines()]
    return sorted(float(late) for at, late in noted if float(at) >= since)


def _measured(process: Process, file: Path, url: str, rollouts: int, seconds: float) -> dict[str, Any]:
    before, began, then, peak = counted(url), time.time(), time.monotonic(), 0.0
    cpu = cpu_seconds([process])
    while time.monotonic() < then + seconds:
        time.sleep(0.5)
        peak = max(peak, resident_bytes([process]) / 1e6)
    whole, asked = time.monotonic() - then, counted(url)
    cores, late = (cpu_seconds([process]) - cpu) / whole, _late(file, began)
    return figures(rollouts, cores, peak, late, whole, before, asked)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what many rollouts cost a triggerer.")
    parser.add_argument("--rollouts", type=int, nargs="*", default=[1, 100])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    args = parser.parse_args()
    text = "\n".join([*HEAD, *(row(measured(each, args.seconds)) for each in args.rollouts)])
    print(text)
    if args.write:
        write("triggerer", text, "performance.md")


if __name__ == "__main__":
    main()
