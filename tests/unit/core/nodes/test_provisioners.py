"""What a plan says of nodes: where pods are sent, what a run may change, what makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.nodes.provisioners import (
    CLASS_LABEL,
    POOL_LABEL,
    ComputeClass,
    ExistingNodes,
    NodePool,
    Nodes,
)
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.parameters import apply_parameters
from tests.support.nodes import CLASS, MACHINE, NODE_POOL, planned
from tests.support.plans import CANARY, llm_plan


def test_pods_are_sent_to_the_nodes_that_are_brought() -> None:
    assert planned(CLASS).node_selector == {CLASS_LABEL: CANARY}
    assert planned(NODE_POOL).node_selector == {POOL_LABEL: CANARY}
    [toleration] = planned(CLASS).nodes.tolerations_for(CANARY)
    assert (toleration["key"], toleration["value"]) == (CLASS_LABEL, CANARY)


def test_a_run_may_take_other_hardware() -> None:
    def nodes_of(plan: PoolPlan, **params: str) -> Nodes:
        return apply_parameters(plan, params).as_pool_plan.nodes

    changed = nodes_of(planned(CLASS), accelerator="nvidia-h200-141gb")
    assert isinstance(changed, ComputeClass)
    assert changed.machines[0].accelerator == "nvidia-h200-141gb"
    both = {"accelerator": "nvidia-l4", "machine_type": "g2-standard-24"}
    pool = nodes_of(planned(NODE_POOL), **both)
    assert isinstance(pool, NodePool)
    assert pool.machine.machine_type == "g2-standard-24"
    existing = nodes_of(llm_plan(), accelerator="nvidia-l4")
    assert isinstance(existing, ExistingNodes)
    assert existing.selector == {"cloud.google.com/gke-accelerator": "nvidia-l4"}


@pytest.mark.parametrize(
    ("nodes", "params", "words"),
    [
        (NODE_POOL, {"accelerator": "nvidia-l4"}, "needs its machine_type"),
        (CLASS | {"machines": [], "name": "shared"}, {"accelerator": "nvidia-l4"}, "decides the hardware"),
        (NODE_POOL, {"canary": "n" * 41}, "40 characters"),
        (CLASS | {"name": "shared"}, {}, "either the name"),
        (NODE_POOL | {"cluster": "prod"}, {}, "cluster"),
        (NODE_POOL | {"machine": MACHINE | {"zones": []}}, {}, "zones"),
        ({"provisioner": "magic"}, {}, "magic"),
    ],
)
def test_hardware_that_makes_no_sense_is_refused(nodes: Any, params: dict[str, Any], words: str) -> None:
    with pytest.raises(RolloutError, match=words):
        apply_parameters(planned(nodes), params)
