"""`python -m bench.chaos [NAME ...]`: play all cells, or those whose names have these words; `make chaos`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.chaos.cells import FEW, Cell, cells
from bench.docs import write
from lab.airflow.client import AirflowError
from lab.airflow.settings import settings


def main() -> int:
    """0 when every cell ended as it should."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("words", nargs="*", help="only cells whose names have one of these")
    parser.add_argument("--few", action="store_true", help="only those that the tests play too")
    parser.add_argument(
        "--unguarded",
        type=Path,
        metavar="RESULTS",
        help="without a guardian: the cells in whose results, with one, it took part; to see which need it",
    )
    parser.add_argument("--results", type=Path, help="a file of JSON lines; cells that it has are not played")
    parser.add_argument("--write", action="store_true", help="write the table into docs/chaos.md")
    given = parser.parse_args()
    guarded = _rows(given.unguarded) if given.unguarded else None
    chosen = [
        cell
        for cell in cells()
        if (not given.few or cell.name in FEW)
        and (not given.words or any(word in cell.name for word in given.words))
        and (guarded is None or _takes_part(guarded[cell.name]))
    ]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        airflow = settings(Path(folder) / "airflow", 0) | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        os.environ.update({name: value for name, value in airflow.items() if name.startswith("AIRFLOW_")})
        return _play(chosen, Path(folder), given)


def _rows(results: Path) -> dict[str, dict[str, Any]]:
    """By cell, what a file of results has."""
    lines = results.read_text().splitlines() if results.exists() else []
    return {each["cell"]: each for each in map(json.loads, lines)}


def _takes_part(row: dict[str, Any]) -> bool:
    """Whether the guardian did something in a cell: one without that goes as it goes with none."""
    return bool(row["guardian"] or "WatchTaken" in row["events"])


def _play(chosen: list[Cell], folder: Path, given: argparse.Namespace) -> int:
    # Airflow reads its environment when it is imported.
    from bench.chaos.arena import arena
    from bench.chaos.play import play
    from bench.chaos.table import needed, row, table

    results = given.results or folder / "results.jsonl"
    done = _rows(results)
    with arena(folder, guarded=not given.unguarded) as stage:
        for cell in chosen:
            if cell.name in done:
                continue
            try:
                stage.reset()
                done[cell.name] = row(play(stage, cell))
            except (AssertionError, AirflowError) as error:
                done[cell.name] = {"cell": cell.name, "right": cell.end, "end": "?", "wrong": [str(error)]}
            with results.open("a") as file:
                file.write(json.dumps(done[cell.name]) + "\n")
            print(time.strftime("%H:%M:%S"), json.dumps(done[cell.name]), flush=True)
    rows = [done[cell.name] for cell in chosen]
    print(text := needed(rows) if given.unguarded else table(rows))
    if given.write:
        write("bench.chaos.unguarded" if given.unguarded else "bench.chaos", text, "chaos.md")
    return int(any(each["wrong"] for each in rows))


if __name__ == "__main__":
    sys.exit(main())
