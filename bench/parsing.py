"""What many plans cost Airflow: `python -m bench.parsing` parses 1, 100 and 1,000, and starts rollbacks.

`--against CHECKOUT` measures another version of the pipeline beside this one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from compileall import compile_dir
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.docs import write
from bench.parse_probe import STARTS
from lab.airflow.settings import settings
from lab.host.state import CHECKOUT

EXAMPLES = sorted((CHECKOUT / "include" / "rollouts").glob("*.yaml"))
FILES = {"inference_rollouts": "DAGs", "rollout_mistakes": "mistakes", "rollout_guardian": "guardian"}
IMPORTS = {"imports": "before it is executed", "kubernetes": "to reach the cluster"}
UNLIMITED = {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "0"}


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of the dag processor with Airflow's own limits: CPU seconds and MB of all its processes."""

    seconds: float
    megabytes: float
    dags: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What `plans` cost: a parse of each DAG file (without limits), a whole pass, a rollback's start."""

    plans: int
    parses: Mapping[str, dict[str, Any]]
    whole: Pass
    start: dict[str, Any]


@dataclass(frozen=True)
class Version:
    """A checkout of the pipeline, and an Airflow home for it in which nothing has been parsed."""

    checkout: Path
    home: Path
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        here = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.checkout / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.checkout / "plugins"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "PYTHONPATH": os.pathsep.join([str(self.checkout / "plugins"), str(CHECKOUT)]),
        }
        object.__setattr__(self, "environment", settings(self.home, 0) | here)

    def cost(self, plans: int, folder: Path) -> Cost:
        """Measured in processes of their own."""
        environment = self.environment | {"INFERENCE_ROLLOUTS_INCLUDE": str(folder)}
        files = {name: self.checkout / "dags" / f"{name}.py" for name in FILES}
        parses = {name: _probe(environment | UNLIMITED, "parse", file) for name, file in files.items()}
        whole = self._pass(environment)
        plan = next((folder / "rollouts").iterdir())
        starts = [_probe(environment, "start", plan) for _ in range(STARTS)]
        return Cost(plans, parses, whole, min(starts, key=lambda each: each["imports"]["seconds"]))

    def _pass(self, environment: Mapping[str, str]) -> Pass:
        """Ends when each file was parsed once, or given up."""
        database = self.home / "airflow.db"
        shutil.copy(self.home / "empty.db", database)
        seconds, megabytes = _run(environment, "-m", "airflow", "dag-processor", "--num-runs", "1")
        with closing(sqlite3.connect(database)) as connection:
            [[dags]] = connection.execute("select count(*) from serialized_dag").fetchall()
        return Pass(seconds, megabytes, dags)


def version(checkout: Path, home: Path) -> Version:
    """A checkout with a database of its own."""
    made = Version(checkout, home)
    compile_dir(checkout / "plugins", quiet=1)  # as who installs it does
    home.mkdir()
    _run(made.environment, "-m", "airflow", "db", "migrate")
    (home / "airflow.db").rename(home / "empty.db")
    return made


def plans_in(folder: Path, count: int) -> Path:
    """A place with `count` plans: the examples by turns, each under a name of its own."""
    (folder / "rollouts").mkdir(parents=True)
    for number in range(count):
        example = EXAMPLES[number % len(EXAMPLES)]
        name = f"{example.stem}-{number:04d}"
        text = re.sub(r"^name: .*$", f"name: {name}", example.read_text(), count=1, flags=re.MULTILINE)
        (folder / "rollouts" / f"{name}.yaml").write_text(text)
    return folder


def _probe(environment: Mapping[str, str], what: str, path: Path) -> dict[str, Any]:
    argv = [sys.executable, "-m", "bench.parse_probe", what, str(path)]
    done = subprocess.run(argv, env=dict(environment), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _run(environment: Mapping[str, str], *arguments: str) -> tuple[float, float]:
    """CPU seconds of a program and all its children, and MB of the largest."""
    process = subprocess.Popen([sys.executable, *arguments], env=dict(environment), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def parsing_table(costs: Mapping[str, Sequence[Cost]]) -> str:
    """CPU seconds, but for memory and what was stored."""
    columns = ("plans", "version", *FILES.values(), "memory", "a pass", "its memory", "stored", "a start")
    rows = [_row(columns), _row(["---"] * len(columns))]
    for which, of_version in costs.items():
        for cost in of_version:
            files = [f"{cost.parses[name]['seconds']:.2f} s" for name in FILES]
            memory, whole = cost.parses[next(iter(FILES))]["peak"], cost.whole
            passed = [f"{whole.seconds:.1f} s", f"{whole.megabytes:.0f} MB", f"{whole.dags:,} DAGs"]
            start = f"{1000 * cost.start['ours']:.0f} ms"
            rows.append(_row([f"{cost.plans:,}", which, *files, f"{memory:.0f} MB", *passed, start]))
    return "\n".join(rows)


def imports_table(costs: Mapping[str, Sequence[Cost]]) -> str:
    """What the start of a rollback imports, with one plan."""
    columns = ("imported", "version", "CPU", "memory", "modules", "packages")
    rows = [_row(columns), _row(["---"] * len(columns))]
    for part, what in IMPORTS.items():
        for which, of_version in costs.items():
            spent = of_version[0].start[part]
            cpu, memory = f"{1000 * spent['seconds']:.0f} ms", f"{spent['megabytes']:.0f} MB"
            packages = ", ".join(spent["packages"])
            rows.append(_row([what, which, cpu, memory, f"{spent['modules']}", packages]))
    return "\n".join(rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what parsing plans and starting tasks costs.")
    parser.add_argument("--plans", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--against", type=Path, help="another checkout of the pipeline, measured as well")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    args = parser.parse_args()
    against = {"before": args.against.resolve()} if args.against else {}
    checkouts = against | {"now": CHECKOUT}
    with tempfile.TemporaryDirectory(prefix="bench-parsing-") as name:
        folder = Path(name)
        places = {count: plans_in(folder / f"{count}-plans", count) for count in args.plans}
        costs = {}
        for which, checkout in checkouts.items():
            measured = version(checkout, folder / which)
            costs[which] = [measured.cost(count, place) for count, place in places.items()]
    text = f"{parsing_table(costs)}\n\n{imports_table(costs)}"
    print(text)
    if args.write:
        write("parsing", text, "performance.md")


if __name__ == "__main__":
    main()
