"""The lab's state directory and the record in it, `lab.json`."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.host.processes import Process

CHECKOUT = Path(__file__).resolve().parents[2]
LOCK, MARK = ".lock", ".made-by-lab"
OWN = ("apiserver", "envoy", "kubeconfig", "loadgen", "logs", "prometheus")


class StateError(Exception):
    """The state directory cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Where one lab keeps everything it writes."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory, made if need be; StateError if another command holds it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StateError(f"another `up` or `down` is at work in {self.path}") from error
            yield

    def empty(self) -> None:
        """Remove what an earlier lab left; StateError where the files may be somebody else's."""
        left = [entry for name in OWN if (entry := self.path / name).exists() or entry.is_symlink()]
        if left and not (self.path / MARK).exists():
            raise StateError(f"{left[0]} was not made by a lab; choose another state directory")
        for entry in left:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        (self.path / MARK).touch()

    @property
    def record_file(self) -> Path:
        """`lab.json`: there from the first started process until the last one has ended."""
        return self.path / "lab.json"

    @property
    def airflow_home(self) -> Path:
        """For the Airflow that is started beside this lab, if one is."""
        return self.path / "airflow"

    @property
    def kubeconfig(self) -> Path:
        """What kubectl is given."""
        return self.path / "kubeconfig"

    @property
    def limited_kubeconfig(self) -> Path:
        """What an Airflow beside the lab is given (`lab.airflow.identity`)."""
        return self.path / "kubeconfig-airflow"

    @property
    def guardian_kubeconfig(self) -> Path:
        """What a guardian beside the lab is given."""
        return self.path / "kubeconfig-guardian"

    def link_kubeconfig(self, written: Path) -> None:
        """Offer the file that the API server wrote as the lab's kubeconfig."""
        self.kubeconfig.symlink_to(written.relative_to(self.path))

    @property
    def logs(self) -> Path:
        """Where every process writes its log."""
        return self.path / "logs"

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.logs / f"{name}.log"

    def read(self) -> dict[str, Any] | None:
        """The record, or None where no lab runs."""
        try:
            return dict(json.loads(self.record_file.read_text()))
        except FileNotFoundError:
            return None

    def write(self, record: Mapping[str, Any]) -> None:
        """Replace the record."""
        write_json(self.record_file, record)

    def add(self, process: Process) -> None:
        """Record a process that works beside a lab which is up, to be ended with it."""
        record = self.read() or {"processes": {}}
        self.write(record | {"processes": record["processes"] | {process.name: process.record()}})

    def processes(self) -> list[Process]:
        """The recorded processes, running or not."""
        recorded = (self.read() or {}).get("processes", {})
        return [Process.from_record(name, entry) for name, entry in recorded.items()]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file so that a reader sees the old text or the new, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)
