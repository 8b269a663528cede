"""Room for a pod is only where its rules, and those of the pods that are there, let it be."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.objects.placing import may_run_on
from inference_rollouts.core.objects.readiness import Phase, Readiness, Replicas, nodes_readiness

GPU, HOST, ZONE = "nvidia.com/gpu", "kubernetes.io/hostname", "topology.kubernetes.io/zone"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NEW, OLD = {"app": "new"}, {"app": "old"}


def node(name: str, zone: str = "a", gpus: int = 8, **labels: str) -> dict[str, Any]:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {GPU: str(gpus)}}
    labels = {HOST: name, ZONE: zone, **labels}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": ready}


def template(labels: dict[str, str] = NEW, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": labels, "namespace": "default"}, "spec": spec}


def there(on: str, labels: dict[str, str] = OLD, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """A pod that runs, and takes no accelerator."""
    pod = template(labels, nodeName=on, **spec)
    pod["metadata"]["namespace"] = namespace
    return pod | {"status": {"phase": "Running"}}


def node_affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [*terms]}}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": [*values]}]}


def beside(kind: str, labels: dict[str, str], key: str = HOST, **more: Any) -> dict[str, Any]:
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": key, **more}
    return {"affinity": {kind: {REQUIRED: [term]}}}


def spread(key: str = ZONE, skew: int = 1, labels: dict[str, str] = NEW, **more: Any) -> dict[str, Any]:
    rule = {"maxSkew": skew, "topologyKey": key, "labelSelector": {"matchLabels": labels}, **more}
    return {"topologySpreadConstraints": [rule]}


def readiness(nodes: list[Any], pods: list[Any], count: int, **spec: Any) -> Readiness:
    return nodes_readiness(nodes, pods, [Replicas(count, 1, GPU, template=template(**spec))], {"app": "own"})


def has_room(nodes: list[Any], pods: list[Any], count: int, **spec: Any) -> bool:
    return readiness(nodes, pods, count, **spec).phase is Phase.READY


@pytest.mark.parametrize(
    ("term", "chosen"),
    [
        (expression("gpu", "In", "h100", "h200"), True),
        (expression("gpu", "In", "l4"), False),
        (expression("gpu", "NotIn", "l4"), True),
        (expression("gpu", "NotIn", "h100"), False),
        (expression("other", "NotIn", "x"), True),
        (expression("gpu", "Exists"), True),
        (expression("other", "Exists"), False),
        (expression("other", "DoesNotExist"), True),
        (expression("gpu", "DoesNotExist"), False),
        (expression("memory", "Gt", "79"), True),
        (expression("memory", "Gt", "80"), False),
        (expression("memory", "Lt", "81"), True),
        (expression("memory", "Lt", "80"), False),
        (expression("gpu", "Gt", "1"), False),
        (expression("other", "Lt", "1"), False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}]}, False),
        ({}, False),
    ],
)
def test_required_node_affinity_chooses_as_the_scheduler_does(term: dict[str, Any], chosen: bool) -> None:
    one, other = node("n", gpu="h100", memory="80"), expression("gpu", "In", "none")
    assert may_run_on(one, template(**node_affinity(term))) is chosen
    assert may_run_on(one, template(**node_affinity(other, term))) is chosen, "any of the terms"
    assert not may_run_on(one, template(nodeSelector={"gpu": "l4"}, **node_affinity(term)))
    assert has_room([one], [], 1, **node_affinity(term)) is chosen


def test_all_expressions_of_a_term_have_to_hold() -> None:
    term = expression("gpu", "Exists") | {
        "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]
    }
    assert not may_run_on(node("n", gpu="h100"), template(**node_affinity(term)))


def test_what_is_only_preferred_keeps_a_pod_from_no_node() -> None:
    preferred: dict[str, Any] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    assert may_run_on(node("n"), template(affinity=preferred))
    assert has_room([node("n")], [], 3, **spread(whenUnsatisfiable="ScheduleAnyway", labels={}))


def test_pods_that_want_none_of_their_own_beside_them_need_a_node_each() -> None:
    apart = beside("podAntiAffinity", NEW)
    assert has_room([node("1"), node("2")], [], 2, **apart)
    answer = readiness([node("1"), node("2")], [], 3, **apart)
    assert answer.phase is Phase.WAITING
    assert "lets only 2 of 3 be there" in answer.message


@pytest.mark.parametrize(
    ("rule", "pod", "room"),
    [
        (beside("podAntiAffinity", OLD), there("1"), False),
        (beside("podAntiAffinity", OLD), there("2"), True),
        (beside("podAntiAffinity", OLD, ZONE), there("2"), False),
        (beside("podAntiAffinity", OLD), there("1", namespace="other"), True),
        (beside("podAntiAffinity", OLD, namespaces=["other"]), there("1", namespace="other"), False),
        (beside("podAntiAffinity", OLD, namespaceSelector={}), there("1", namespace="other"), False),
        (beside("podAntiAffinity", OLD), there("1") | {"status": {"phase": "Succeeded"}}, True),
        (beside("podAntiAffinity", OLD), there("1", OLD | {"app": "own"}), True),
        ({}, there("1", **beside("podAntiAffinity", NEW)), False),  # it wants none of ours beside it
        ({}, there("1", **beside("podAntiAffinity", OLD)), True),
        (beside("podAffinity", OLD), there("1"), True),
        (beside("podAffinity", OLD), there("2"), False),
        (beside("podAffinity", NEW), there("2"), True),  # the first of its kind
    ],
)
def test_pods_that_are_there_decide_who_comes(rule: dict[str, Any], pod: dict[str, Any], room: bool) -> None:
    """Of two nodes in a zone the second has no accelerator."""
    assert has_room([node("1"), node("2", gpus=0)], [pod], 1, **rule) is room


def test_pods_are_spread_as_far_as_they_want() -> None:
    zones = [node("1", "a"), node("2", "b", gpus=1)]
    assert has_room(zones, [], 3, **spread())
    assert not has_room(zones, [], 4, **spread())
    assert has_room(zones, [], 4, **spread(skew=2))
    assert not has_room(zones, [there("1", NEW), there("1", NEW)], 2, **spread()), (
        "those count that are there"
    )
    assert has_room(
        zones, [there("1", NEW), there("1", NEW)], 3, **spread(matchLabelKeys=["pod-template-hash"])
    )


def test_a_node_without_the_label_is_no_place_to_spread_to() -> None:
    bare = node("1")
    del bare["metadata"]["labels"][ZONE]
    assert not has_room([bare], [], 1, **spread())


def test_zones_that_a_pod_may_not_run_in_are_none_to_spread_to() -> None:
    zones = [node("1", "a", gpu="h100"), node("2", "b")]
    assert has_room(zones, [], 3, **spread(), **node_affinity(expression("gpu", "Exists")))
    assert not has_room([*zones[:1], node("2", "b", gpus=0)], [], 3, **spread())


def among(here: list[Any], elsewhere: list[Any], pods: list[Any], count: int, **spec: Any) -> bool:
    """Whether there is room on the nodes that a plan means, in a cluster that has others."""
    wanted = [Replicas(count, 1, GPU, template=template(**spec))]
    return nodes_readiness(here, pods, wanted, {"app": "own"}, elsewhere).phase is Phase.READY


def test_zones_of_nodes_that_a_plan_does_not_mean_count_where_the_pod_s_own_rules_let_it_run() -> None:
    """Two more in one zone are too many while none is in the other, where no node is the plan's."""
    here, elsewhere = [node("1", "a")], [node("2", "b", gpus=0)]
    assert among(here, [], [], 2, **spread())
    assert not among(here, elsewhere, [], 2, **spread())
    chosen = node_affinity(expression(HOST, "In", "1"))
    assert among(here, elsewhere, [], 2, **spread(), **chosen)
    assert not among(here, elsewhere, [], 2, **spread(nodeAffinityPolicy="Ignore"), **chosen)


def test_who_runs_on_nodes_that_a_plan_does_not_mean_counts_in_their_zone() -> None:
    here, elsewhere = [node("1", "a")], [node("2", "a"), node("3", "b")]
    apart = beside("podAntiAffinity", OLD, ZONE)
    assert not among(here, elsewhere, [there("2")], 1, **apart)
    assert among(here, elsewhere, [there("3")], 1, **apart)
    assert among(here, elsewhere, [there("2")], 1, **beside("podAffinity", OLD, ZONE))
    assert not among(here, elsewhere, [there("3")], 1, **beside("podAffinity", OLD, ZONE))
    assert not among(here, elsewhere, [there("2", NEW)], 1, **spread())


def test_pods_where_the_new_ones_may_not_run_count_for_no_spreading() -> None:
    here, elsewhere = [node("1", "a", gpu="h100"), node("3", "b", gpu="h100")], [node("2", "a")]
    chosen = node_affinity(expression("gpu", "Exists"))
    assert among(here, elsewhere, [there("2", NEW), there("2", NEW)], 2, **spread(), **chosen)


def test_tainted_nodes_count_for_spreading_unless_it_honours_taints() -> None:
    taint = {"key": "others", "effect": "NoSchedule"}
    here, tainted = [node("1", "a")], node("2", "b", gpus=0) | {"spec": {"taints": [taint]}}
    honours = spread(nodeTaintsPolicy="Honor")
    assert not among(here, [tainted], [], 2, **spread())
    assert among(here, [tainted], [], 2, **honours)
    assert not among(here, [tainted], [], 2, **honours, tolerations=[{"operator": "Exists"}])
