"""The request log: JSON lines in a directory, rotated by size.

`python -m lab.loadgen.log DIR [--since T] [--until T]` counts what is in it by outcome. Exit status: 0 when
every request succeeded, 1 when one failed, 2 when there is none.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from lab.loadgen.record import OK, Record

NAME = "requests.jsonl"
LARGEST_FILE = 32 * 2**20
OLD_FILES = 4


class RequestLog:
    """Appends records to `DIR/requests.jsonl`; older files are `.1` (newest) to `.4`."""

    def __init__(self, directory: Path, largest: int = LARGEST_FILE) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / NAME
        self._largest = largest
        self._file: TextIO = self._path.open("a")

    def write(self, record: Record) -> None:
        """Append; readers see it after the next `flush`."""
        self._file.write(record.line() + "\n")

    def flush(self) -> None:
        """Show what was written, and start a new file when this one is full."""
        self._file.flush()
        if self._file.tell() >= self._largest:
            self._rotate()

    def close(self) -> None:
        """Show what was written and stop."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(OLD_FILES - 1, 0, -1):
            with suppress(FileNotFoundError):
                _old(self._path, number).replace(_old(self._path, number + 1))
        self._path.replace(_old(self._path, 1))
        self._file = self._path.open("a")


def read_log(directory: Path, since: float = 0.0, until: float = float("inf")) -> Iterator[Record]:
    """Records of requests that began in the interval (Unix times), oldest file first.

    A line that is not complete yet is left out.
    """
    path = directory / NAME
    for candidate in (*(_old(path, number) for number in range(OLD_FILES, 0, -1)), path):
        with suppress(FileNotFoundError), candidate.open() as file:
            for line in file:
                with suppress(ValueError):
                    record = Record.from_line(line)
                    if since <= record.time < until:
                        yield record


def count_outcomes(records: Iterator[Record]) -> dict[str, list[Record]]:
    """Records by outcome; a failed outcome is told apart by its detail too."""
    outcomes: dict[str, list[Record]] = {}
    for record in records:
        outcomes.setdefault(record.outcome, []).append(record)
    return outcomes


def _old(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()


def main() -> int:
    """Print the outcomes; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.loadgen.log", description=__doc__)
    parser.add_argument("directory", type=Path, help="the log's directory")
    parser.add_argument("--since", type=_moment, default=0.0, help="Unix time or ISO 8601")
    parser.add_argument("--until", type=_moment, default=float("inf"), help="Unix time or ISO 8601")
    arguments = parser.parse_args()
    outcomes = count_outcomes(read_log(arguments.directory, arguments.since, arguments.until))
    if not outcomes:
        print("no request in that interval")
        return 2
    for outcome, records in sorted(outcomes.items()):
        print(
            f"{outcome:<16}{len(records):>9}  {_when(records[0])} .. {_when(records[-1])}  {_where(records)}"
        )
    return 1 if outcomes.keys() - {OK} else 0


def _when(record: Record) -> str:
    return datetime.fromtimestamp(record.time).isoformat(sep=" ", timespec="milliseconds")


def _where(records: list[Record]) -> str:
    pools = {record.pool or "no pool" for record in records}
    details = {record.detail for record in records if record.detail}
    return "; ".join((", ".join(sorted(pools)), *sorted(details)[:3]))


if __name__ == "__main__":
    raise SystemExit(main())
