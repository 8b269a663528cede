"""What the canary's pods need of nodes, by what they are."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.objects.readiness import Phase, Replicas, nodes_readiness
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.run.demand import replicas_wanted
from tests.support.plans import llm_plan
from tests.support.real_pool import CANARY, SIX_LINES, STABLE
from tests.support.stacks import Change, leaders_and_workers, one_port, prefill_and_decode, stack
from tests.support.taking_over import frozen

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


def node(name: str, gpus: int, **labels: str) -> dict[str, Any]:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {GPU: str(gpus)}}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": ready}


@pytest.mark.parametrize(("sizes", "phase"), [((8, 4), Phase.READY), ((6, 6), Phase.WAITING)])
def test_several_sorts_are_placed_largest_first(sizes: tuple[int, ...], phase: Phase) -> None:
    """A pod of eight and two of two each: twelve free accelerators are not enough where they lie apart."""
    nodes = [node(str(place), gpus) for place, gpus in enumerate(sizes)]
    wanted = [Replicas(2, 2, GPU), Replicas(1, 8, GPU)]
    answer = nodes_readiness(nodes, [], wanted, {})
    assert answer.phase is phase
    assert ("only 2 of 3 pods with 2 or 8 each fit" in answer.message) is (phase is Phase.WAITING)


def test_each_sort_has_room_on_its_own_nodes_alone() -> None:
    """Prefillers and decoders of other hardware."""
    nodes = [node("a", 8, gpu="h100"), node("b", 8, gpu="h200")]
    wanted = [Replicas(1, 8, GPU, (), {"gpu": "h100"}), Replicas(1, 8, GPU, (), {"gpu": "h200"})]
    assert nodes_readiness(nodes, [], wanted, {}).phase is Phase.READY
    assert nodes_readiness(nodes, [], [wanted[0], wanted[0]], {}).phase is Phase.WAITING


def test_where_roles_want_other_hardware_the_plan_s_nodes_are_those_of_both() -> None:
    cluster = stack(prefill_and_decode)
    live = cluster.objects["Deployment", f"{STABLE}-decode"]
    label = {"cloud.google.com/gke-accelerator": "nvidia-h200-141gb"}
    live["spec"]["template"]["spec"]["nodeSelector"] = label
    cluster.put("apps/v1", "Deployment", live)
    run = frozen(cluster)
    assert run.plan.as_pool_plan.nodes.selector_for(CANARY) == {}
    found = replicas_wanted(run.plan.as_pool_plan, run.manifests)
    assert label in [each.selector for each in found]


def test_the_rules_of_a_template_are_weighed_for_its_pods() -> None:
    cluster = stack(one_port)
    live = cluster.objects["Deployment", STABLE]
    rule = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}
    live["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": required}
    cluster.put("apps/v1", "Deployment", live)
    run = frozen(cluster)
    plan = run.plan.as_pool_plan
    [wanted] = replicas_wanted(plan, run.manifests)
    assert wanted.template["metadata"]["namespace"] == plan.namespace
    assert wanted.template["spec"]["affinity"] == {"podAntiAffinity": required}
