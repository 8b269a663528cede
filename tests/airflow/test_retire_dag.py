"""The shape of the DAG that retires, and what it hears."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from inference_rollouts.retire_dag import build_retire_dag
from tests.support.plans import llm_plan


@pytest.mark.parametrize(
    ("retention", "assets"),
    [
        ({}, {"rolled-back"}),
        ({"keep": "1d"}, {"promoted", "rolled-back"}),
        ({"keep": "1d", "keep_rolled_back": None}, {"promoted"}),
        ({"keep_rolled_back": None}, set()),
    ],
)
def test_it_runs_by_itself_after_what_the_plan_says(retention: dict[str, Any], assets: Any) -> None:
    dag = build_retire_dag(llm_plan(retention=retention))
    assert dag.dag_id == "retire_llm"
    assert dag.tags == {"inference-rollout", "retirement"}
    assert dag.is_paused_upon_creation is False
    condition = getattr(dag.timetable, "asset_condition", None)
    heard = {asset.name for asset in condition.objects} if condition else set()
    assert heard == {f"inference-rollouts/llm/{asset}" for asset in assets}


@pytest.mark.parametrize("asks", [True, False])
def test_the_chain_of_a_retirement(asks: bool) -> None:
    dag = build_retire_dag(llm_plan(approvals={"retire": asks}))
    chain = ["check", "wait_idle", *(["approve"] if asks else []), "retire"]
    assert [task.task_id for task in dag.tasks] == ["leftovers", *(f"retirement.{task}" for task in chain)]
    for before, after in pairwise(chain):
        assert f"retirement.{after}" in dag.task_dict[f"retirement.{before}"].downstream_task_ids
    assert min(task.retries or 0 for task in dag.tasks) >= 1


def test_who_retires_by_hand_does_not_wait_for_what_is_kept_for_weeks() -> None:
    """One run of each night waits for its time: with sixteen at once, as of other DAGs, all have begun."""
    assert build_retire_dag(llm_plan(retention={"keep": "30d"})).max_active_runs >= 8 * 30
