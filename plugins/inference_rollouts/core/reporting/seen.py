"""A run of a rollout as Airflow remembers it, in plain values: what pages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SeenTask:
    """A task of the run: its state in Airflow's words, and when it began and ended (Unix seconds)."""

    state: str
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class SeenQuestion:
    """What task `task` asks of a person, and since when; `default` is what silence means."""

    task: str
    subject: str
    body: str
    options: tuple[str, ...]
    default: str
    asked: float


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A DAG run: `by` is who triggered it, empty for nobody; `xcoms` are what tasks left, by task and key.

    `frozen` is when preflight froze what later tasks read (Unix seconds); None: it has not. `dry`: the run
    only looks ahead.
    """

    dag: str
    run: str
    state: str
    began: float | None = None
    ended: float | None = None
    by: str = ""
    frozen: float | None = None
    dry: bool = False
    tasks: Mapping[str, SeenTask] = field(default_factory=dict)
    xcoms: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    question: SeenQuestion | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("success", "failed")

    def left(self, task: str, key: str = "return_value") -> Any:
        """What a task left; None where it left nothing."""
        return self.xcoms.get((task, key))
