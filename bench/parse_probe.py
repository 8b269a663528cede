"""Does what a process of Airflow does, and measures it: `python -m bench.parse_probe parse FILE|start PLAN`.

Times are CPU time, so that what else runs on the machine counts for little. The last line is JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

STARTS = 5  # of which the quickest counts: the others were disturbed
WANTED = "_AIRFLOW_PARSING_CONTEXT_DAG_ID"  # how Airflow says which DAG it wants
AIRFLOW = ("airflow.sdk.execution_time.task_runner", "airflow.dag_processing.dagbag")  # of each task's start
KUBERNETES = "airflow.providers.cncf.kubernetes.hooks.kubernetes"


class Spent:
    """What this process has spent since this was made: CPU seconds, MB at the peak, and what it imported."""

    def __init__(self) -> None:
        self._began, self._memory, self._modules = time.process_time(), _peak(), set(sys.modules)

    def so_far(self) -> dict[str, Any]:
        new = set(sys.modules) - self._modules
        packages = {name.partition(".")[0] for name in new if not name.startswith("_")}
        return {
            "seconds": time.process_time() - self._began,
            "megabytes": _peak() - self._memory,
            "modules": len(new),
            "packages": sorted(packages),
        }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def parse(file: Path) -> dict[str, Any]:
    """As a child of the dag processor does: parse a DAG file, and make of its DAGs what is stored."""
    import structlog
    from airflow.dag_processing.processor import DagFileParseRequest, _parse_file

    request = DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name="bench")
    spent = Spent()
    result = _parse_file(request, structlog.get_logger())
    assert result
    return spent.so_far() | {"peak": _peak(), "dags": len(result.serialized_dags)}


def start(plan: Path) -> dict[str, Any]:
    """As a rollback does before it is executed, in a process that has imported Airflow alone.

    `imports`: what it imports beyond Airflow; `ours`: seconds of each start once that is done; `kubernetes`:
    what it imports to reach a cluster.
    """
    for module in AIRFLOW:
        importlib.import_module(module)
    os.environ[WANTED] = f"rollout_{plan.stem.replace('-', '_')}"
    imports = Spent()
    all_dags = importlib.import_module("inference_rollouts.dags").all_dags
    all_dags()
    first, ours = imports.so_far(), []
    for _ in range(STARTS):
        plan.write_text(f"{plan.read_text()}#\n")  # another text, which nobody has kept
        spent = Spent()
        [dag] = [each for each in all_dags() if each.dag_id == os.environ[WANTED]]
        assert "rollback" in dag.task_dict
        ours.append(spent.so_far()["seconds"])
    first["seconds"] -= min(ours)
    kubernetes = Spent()
    importlib.import_module(KUBERNETES)
    return {"imports": first, "ours": min(ours), "kubernetes": kubernetes.so_far()}


def main() -> None:
    act, path = {"parse": parse, "start": start}[sys.argv[1]], Path(sys.argv[2])
    print(json.dumps(act(path)))


if __name__ == "__main__":
    main()
