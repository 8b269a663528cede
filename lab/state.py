"""The lab's state directory and the record in it, `lab.json`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.processes import Process


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Where one lab keeps everything it writes."""

    path: Path

    @property
    def record_file(self) -> Path:
        """`lab.json`: there from the first started process until the last one has ended."""
        return self.path / "lab.json"

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.path / "logs" / f"{name}.log"

    def read(self) -> dict[str, Any] | None:
        """The record, or None where no lab runs."""
        try:
            return dict(json.loads(self.record_file.read_text()))
        except FileNotFoundError:
            return None

    def processes(self) -> list[Process]:
        """The recorded processes, running or not."""
        recorded = (self.read() or {}).get("processes", {})
        return [Process.from_record(name, entry) for name, entry in recorded.items()]


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file so that a reader sees the old text or the new, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)
