"""Plan files -> the DAGs that Airflow gets: none is lost, and no file takes away another's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.plan import Plan, dag_id_of

INVALID = "invalid"
"""What the id of a DAG begins with that stands for invalid files beside a valid one."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A DAG that only names the mistakes of files which would make the same DAG; `plan` is one's name."""

    dag_id: str
    mistake: str
    plan: str


def concerns(dag_id: str, file: str) -> bool:
    """Whether what a file of this name (without `.yaml`) holds has a say in the DAG with this id."""
    verb = dag_id.partition("_")[0]
    return dag_id_of(file, verb) == dag_id


def accept(files: Iterable[tuple[str, Plan | PlanInvalid]]) -> tuple[list[Plan], list[Refused]]:
    """The plans to build, and what stands for the files that are refused.

    A file is known by its name without `.yaml`. Two valid plans with one DAG id are both refused: nobody
    knows which was meant. An invalid file gives way to a valid one.
    """
    rivals: dict[str, list[tuple[str, Plan | PlanInvalid]]] = defaultdict(list)
    for name, plan in files:
        rivals[dag_id_of(name)].append((name, plan))
    plans, refused = [], []
    for dag_id, group in rivals.items():
        valid = [plan for _, plan in group if not isinstance(plan, PlanInvalid)]
        if len(valid) == 1:
            plans += valid
            dag_id = dag_id_of(valid[0].name, INVALID)
        if mistakes := _mistakes(group, alone=len(valid) == 1):
            refused.append(Refused(dag_id, " ".join(mistakes), group[0][0]))
    return plans, refused


def _mistakes(group: list[tuple[str, Plan | PlanInvalid]], *, alone: bool) -> list[str]:
    """What is wrong with each file of those that make one DAG; `alone` when only one of them is valid."""
    mistakes = []
    for name, plan in group:
        others = " and ".join(f"{other}.yaml" for other, _ in group if other != name)
        if isinstance(plan, PlanInvalid):
            mistakes.append(str(plan))
        elif not alone:
            mistakes.append(f"{name}.yaml makes the same DAG as {others}: rename one of them.")
    return mistakes
