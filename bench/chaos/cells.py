"""Which faults strike at which moments, and how the rollout must end then: decided beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bench.chaos.faults import FAULTS, Fault
from bench.chaos.moments import MOMENTS, Moment


class End(StrEnum):
    """Where a rollout's traffic is in the end."""

    PROMOTED = "promoted"
    AS_FOUND = "as found"


@dataclass(frozen=True, slots=True)
class Cell:
    """A fault at a moment, and the right end."""

    fault: Fault
    moment: Moment
    end: End

    @property
    def name(self) -> str:
        return f"{self.fault.name} / {self.moment.name}"

    @property
    def plan(self) -> str:
        """Hasty where only a guardian can end it, once the next move is overdue."""
        speed = "hasty" if self.fault.lasting else "patient"
        return f"{speed}-asking" if self.moment.asks else speed


ALL = tuple(MOMENTS)
WEIGHTED = ("initial delay", "judge", "rollback")
# By fault the moments at which it makes sense: a task dies only where one runs, and what nobody needs at a
# moment is not killed there.
MATRIX: dict[str, tuple[str, ...]] = {
    "scheduler killed": ALL,
    "triggerer killed": ("deploy", *WEIGHTED, "wait for room", "ask"),
    "dag-processor killed": ("judge", "raise"),
    "Airflow's API server killed": ("warm-up", "judge", "raise", "rollback"),
    "a task killed": ("warm-up", "raise", "promote", "rollback"),
    "Kubernetes API server killed": ("deploy", "warm-up", "judge", "raise", "promote", "rollback"),
    "Prometheus killed": ("judge", "raise"),
    "Envoy killed": ("judge", "rollback"),
    "endpoint pickers killed": ("judge",),
    "a model server killed": ("judge",),
    "Airflow's database deleted": ("judge", "rollback"),
    "plan broken": ("deploy", "judge", "ask", "rollback"),
    "plan shortened": ("judge",),
    "plan deleted": ("judge", "rollback"),
    "run deleted": ("initial delay", "ask", "rollback"),
    "run cleared": ("judge",),
    "DAG paused": ("judge", "raise", "promote"),
    "API: 403 for 30 s": ("warm-up", "judge", "raise", "rollback"),
    "API: 20 % answer 500 for 30 s": ("deploy", "judge", "rollback"),
    "API: cut off for 60 s": ("judge", "raise", "rollback"),
    "all of Airflow killed for good": (*ALL[:4], "ask", "raise", "promote", "rollback"),
}
# In every run of the tests: one of each kind.
FEW = (
    "scheduler killed / judge",
    "a task killed / raise",
    "Kubernetes API server killed / rollback",
    "plan broken / judge",
    "DAG paused / raise",
    "all of Airflow killed for good / judge",
)


def cells() -> Iterator[Cell]:
    """All of them, fault by fault."""
    for name, moments in MATRIX.items():
        for moment in moments:
            yield Cell(FAULTS[name], MOMENTS[moment], _end(FAULTS[name], MOMENTS[moment]))


def _end(fault: Fault, moment: Moment) -> End:
    """A good canary is promoted unless what would do that is gone for good; a bad one never is."""
    return End.AS_FOUND if moment.bad or fault.lasting else End.PROMOTED
