"""What the canary's pods need of nodes, by what they are."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.objects.readiness import Phase, Replicas, nodes_readiness
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.run.demand import replicas_wanted
from tests.support.plans import llm_plan
from tests.support.real_pool import SIX_LINES
from tests.support.stacks import Change, leaders_and_workers, one_port, prefill_and_decode, stack

GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [(one_port, [(2, 2)]), (leaders_and_workers, [(2, 2), (2, 2)]), (prefill_and_decode, [(1, 2), (2, 2)])],
)
def test_workers_of_groups_and_each_role_count(change: Change, wanted: list[tuple[int, int]]) -> None:
    plan = parse_plan({"name": "chat"} | SIX_LINES).as_pool_plan
    plan = plan.model_copy(
        update={"workload": plan.workload.model_copy(update={"accelerator": llm_plan().workload.accelerator})}
    )
    found = replicas_wanted(plan, list(stack(change).objects.values()))
    assert [(each.count, each.each) for each in found] == wanted


def test_without_manifests_it_is_as_the_plan_says() -> None:
    plan = llm_plan()
    [one] = replicas_wanted(plan, ())
    assert (one.count, one.each) == (plan.workload.replicas, plan.workload.accelerator.per_replica)


def node(name: str, gpus: int) -> dict[str, Any]:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {GPU: str(gpus)}}
    return {"metadata": {"name": name}, "spec": {}, "status": ready}


@pytest.mark.parametrize(("sizes", "phase"), [((8, 4), Phase.READY), ((6, 6), Phase.WAITING)])
def test_several_sorts_are_placed_largest_first(sizes: tuple[int, ...], phase: Phase) -> None:
    """A pod of eight and two of two each: twelve free accelerators are not enough where they lie apart."""
    nodes = [node(str(place), gpus) for place, gpus in enumerate(sizes)]
    wanted = [Replicas(2, 2, GPU), Replicas(1, 8, GPU)]
    answer = nodes_readiness(nodes, [], wanted, {})
    assert answer.phase is phase
    assert ("only 2 of 3 pods with 2 or 8 each fit" in answer.message) is (phase is Phase.WAITING)
