"""No answer of GKE's API, however odd, is a fault of ours: what it does not say is not known."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.nodes import gke
from inference_rollouts.core.nodes.provisioners import NodePool
from inference_rollouts.core.objects.readiness import Phase
from tests.support.nodes import NODE_POOL, planned

odd = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
anything = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
condition = st.fixed_dictionaries({}, optional={"code": anything, "message": anything})
conditions = anything | st.lists(anything | condition, max_size=2)
config = st.fixed_dictionaries(
    {}, optional={"labels": anything, "accelerators": conditions, "machineType": odd}
)
pools = st.fixed_dictionaries(
    {},
    optional={
        "status": anything,
        "statusMessage": anything,
        "conditions": conditions,
        "config": anything | config,
        "placementPolicy": anything,
    },
)
operations = st.fixed_dictionaries(
    {},
    optional={
        "status": anything | st.sampled_from(["DONE", "RUNNING", "ABORTING"]),
        "operationType": anything | st.just("CREATE_NODE_POOL"),
        "error": anything | condition,
        "nodepoolConditions": conditions,
        "targetLink": anything,
        "startTime": anything,
        "detail": anything,
    },
)


@given(st.none() | pools, st.none() | operations)
def test_no_node_pool_is_ready_that_does_not_say_so(pool: Any, operation: Any) -> None:
    answer = gke.pool_readiness("p", pool, operation)
    said = pool is not None and pool.get("status") in gke.USABLE
    assert said or answer.phase is not Phase.READY
    assert gke.newest_operation(
        [operation] if operation else [], "projects/p/locations/l/clusters/c", "p"
    ) in (
        None,
        operation,
    )


@given(pools)
def test_no_node_pool_is_ours_that_does_not_say_so(pool: Any) -> None:
    nodes = planned(NODE_POOL).nodes
    assert isinstance(nodes, NodePool)
    assert not gke.is_ours(pool, "llm")
    assert not gke.is_of_run(pool, "llm", "run")
    assert not gke.has_machines(pool, nodes)
