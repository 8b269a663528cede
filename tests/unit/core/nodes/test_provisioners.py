"""What a plan says of nodes: where pods are sent, what a run may change, what makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.nodes.gke import has_machines, node_pool_body, slice_mistake
from inference_rollouts.core.nodes.provisioners import (
    CLASS_LABEL,
    POOL_LABEL,
    TPU_LABEL,
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


TPU = {"accelerator": "tpu-v6e-slice", "count": 4, "machine_type": "ct6e-standard-4t", "topology": "2x4"}


def test_tpus_are_asked_for_as_tpus_with_their_topology() -> None:
    made = planned(CLASS | {"machines": [TPU]}).nodes
    assert isinstance(made, ComputeClass)
    [rule] = made.manifest(CANARY)["spec"]["priorities"]
    assert rule == {
        "tpu": {"type": "tpu-v6e-slice", "count": 4, "topology": "2x4"},
        "machineType": "ct6e-standard-4t",
    }
    pool = planned(NODE_POOL | {"machine": TPU | {"zones": ["us-east5-a"]}}).nodes
    assert isinstance(pool, NodePool)
    body = node_pool_body(pool, CANARY, 8, "llm", "run")["nodePool"]
    assert "accelerators" not in body["config"]
    assert body["placementPolicy"] == {"type": "COMPACT", "tpuTopology": "2x4"}
    assert has_machines(body, pool)
    assert not has_machines(body | {"placementPolicy": {"tpuTopology": "4x4"}}, pool)
    assert ExistingNodes(selector={TPU_LABEL: "tpu-v6e-slice"}).accelerator == "tpu-v6e-slice"


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
        (CLASS | {"machines": [TPU | {"topology": None}]}, {}, "tpu-v6e-slice needs a topology"),
        (CLASS | {"machines": [MACHINE | {"topology": "2x4"}]}, {}, "has no topology"),
        (
            CLASS | {"machines": [TPU | {"topology": "1x1"}]},
            {},
            "a slice of 1x1 has 1 chips, which",
        ),
        (CLASS | {"machines": [TPU | {"topology": "0x4"}]}, {}, "has 0 chips"),
        (CLASS | {"machines": [TPU]}, {"accelerator": "nvidia-l4"}, "needs another plan, as to topology"),
    ],
)
def test_hardware_that_makes_no_sense_is_refused(nodes: Any, params: dict[str, Any], words: str) -> None:
    with pytest.raises(RolloutError, match=words):
        apply_parameters(planned(nodes), params)


@pytest.mark.parametrize(
    ("machine", "needed", "words"),
    [
        ({"count": 8}, 16, ""),
        ({"topology": "4x4", "count": 4}, 16, ""),
        (
            {"topology": "4x4", "count": 4},
            32,
            "of 4 machines with 4 chips each; 32 chips are needed in 1 zone:",
        ),
        ({"topology": "4x4", "count": 4}, 8, "8 chips are needed"),
        ({"topology": "4x4", "count": 4, "zones": ["a", "b"]}, 16, "in 2 zones"),
    ],
)
def test_a_node_pool_of_a_slice_on_several_machines_is_that_slice(
    machine: dict[str, Any], needed: int, words: str
) -> None:
    """GKE makes none of half a slice, or of two; of slices on one machine it has as many as are wanted."""
    pool = planned(NODE_POOL | {"machine": TPU | {"zones": ["us-east5-a"]} | machine}).nodes
    assert isinstance(pool, NodePool)
    wrong = slice_mistake(pool, needed)
    assert (words in wrong) if words else not wrong
