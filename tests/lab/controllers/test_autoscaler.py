"""Nodes made for pods that do not fit: late, until the stock is out, or not at all."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from lab.controllers.autoscaler import SCALE_UPS, Autoscaler
from lab.controllers.node_templates import CONFIG, TEMPLATE
from lab.kube.client import Kube, KubeError
from lab.kube.objects import path_of, path_of_object
from lab.reconcile.store import Store
from lab.scope import LAB
from tests.support.lab.cluster import add_node, deployment, events_of, node, pods_of, running_cluster, until
from tests.support.lab.fake_kube import FakeKube

Obj = dict[str, Any]

GPU = "nvidia.com/gpu"
H100 = {"labels": {"kind": "h100"}, "allocatable": {GPU: 8}, "seconds": 60}
KINDS = ("Pod", "Node", "ConfigMap", "ComputeClass")


class AnnotatedKube(FakeKube):
    """A FakeKube that takes in patches of annotations."""

    async def patch(self, path: str, body: Obj, kind: str = "merge", field_manager: str | None = None) -> Obj:
        if annotations := body.get("metadata", {}).get("annotations"):
            obj = copy.deepcopy(self.objects[path])
            merged = {**obj["metadata"].get("annotations", {}), **annotations}
            obj["metadata"]["annotations"] = {key: text for key, text in merged.items() if text is not None}
            self.change(obj)
        return await super().patch(path, body, kind, field_manager)


class Bed:
    """A cluster in memory, a clock that stands still, and an autoscaler that can be restarted."""

    def __init__(self, **templates: Any) -> None:
        self.kube = AnnotatedKube()
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        if templates:
            self.kube.add(config(**templates))

    async def scan(self, lab: str | None = None) -> float | None:
        """One scan by an autoscaler that has just started."""
        store = Store(cast(Kube, self.kube), KINDS)
        scaler = Autoscaler(store, "default", lab, lambda: self.time)
        for kind in KINDS:
            for obj in self.kube.of_kind(kind):
                store[kind].observe(copy.deepcopy(obj))
        return await scaler.scan()

    def later(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def nodes(self) -> list[str]:
        return sorted(each["metadata"]["name"] for each in self.kube.of_kind("Node"))

    def told(self, pod: str = "p") -> list[tuple[str, str]]:
        about = [each for each in self.kube.of_kind("Event") if each["involvedObject"]["name"] == pod]
        return [(each["reason"], each["message"]) for each in about]


def config(**templates: Any) -> Obj:
    data = {name: each if isinstance(each, str) else json.dumps(each) for name, each in templates.items()}
    metadata = {"name": CONFIG, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(name: str = "p", gpus: int = 8, kind: str = "h100", reason: str = "Unschedulable") -> Obj:
    container = {"name": "main", "image": "x", "resources": {"limits": {GPU: str(gpus)}}}
    scheduled = {"type": "PodScheduled", "status": "False", "reason": reason, "message": ""}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], "nodeSelector": {"kind": kind}},
        "status": {"conditions": [scheduled]},
    }


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await body()

    asyncio.run(main())


def failed(zone: str, why: str) -> tuple[str, str]:
    text = f"Node scale up in zones {zone} associated with this pod failed: {why}."
    return "FailedScaleUp", f"{text} Pod is at risk of not being scheduled."


def test_a_node_comes_late_and_once_though_the_controllers_restart() -> None:
    bed = Bed(h100={**H100, "stock": 2, "taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}]})
    waiting = pod()
    waiting["spec"]["tolerations"] = [{"key": GPU, "operator": "Exists"}]
    bed.kube.add(waiting)

    async def body() -> None:
        assert await bed.scan() == 60
        bed.later(59)
        assert await bed.scan() == 1
        assert bed.nodes() == []
        bed.later(1)
        assert await bed.scan(lab="mine") is None
        assert await bed.scan() is None

    run(body)
    assert bed.told() == [("TriggeredScaleUp", "pod triggered scale-up: [{h100 0->1 (max: 2)}]")]
    (made,) = bed.kube.of_kind("Node")
    assert made["metadata"]["name"] == "h100-1"
    assert made["metadata"]["labels"] == {
        "kind": "h100",
        "kubernetes.io/hostname": "h100-1",
        TEMPLATE: "h100",
        LAB: "mine",
    }
    assert made["status"]["allocatable"][GPU] == "8"
    assert made["spec"]["taints"][0]["key"] == GPU
    (templates,) = bed.kube.of_kind("ConfigMap")
    assert SCALE_UPS not in templates["metadata"]["annotations"]


def test_pods_share_the_nodes_that_are_coming() -> None:
    bed = Bed(h100={**H100, "seconds": 0})
    for number in range(3):
        bed.kube.add(pod(f"p{number}", gpus=4))

    async def body() -> None:
        await bed.scan()
        bed.kube.add(pod("late", gpus=4))
        await bed.scan()
        await bed.scan()

    run(body)
    assert bed.nodes() == ["h100-1", "h100-2"]
    assert bed.told("p0") == [("TriggeredScaleUp", "pod triggered scale-up: [{h100 0->2}]")]
    assert bed.told("late") == []


def test_beyond_the_stock_the_scale_up_fails_until_there_is_more() -> None:
    bed = Bed(h100={**H100, "seconds": 0, "stock": 1})
    for name in ("a", "b"):
        bed.kube.add(pod(name))

    async def body() -> None:
        await bed.scan()
        await bed.scan()
        assert bed.nodes() == ["h100-1"]
        assert bed.told("b") == [failed("h100", "GCE_STOCKOUT")]
        restocked = copy.deepcopy(bed.kube.of_kind("ConfigMap")[0])
        restocked["data"] = config(h100={**H100, "seconds": 0, "stock": 2})["data"]
        bed.kube.change(restocked)
        await bed.scan()
        await bed.scan()

    run(body)
    assert bed.nodes() == ["h100-1", "h100-2"]


def test_refused_always_fails_and_the_next_template_is_tried() -> None:
    zone = {"kind": "h100", "topology.kubernetes.io/zone": "us-central1-a"}
    refused = {**H100, "labels": zone, "refused": "GCE_QUOTA_EXCEEDED"}
    bed = Bed(a=refused)
    bed.kube.add(pod())

    async def body() -> None:
        assert await bed.scan() == 60
        assert bed.told() == [failed("us-central1-a", "GCE_QUOTA_EXCEEDED")]
        bed.kube.change({**bed.kube.of_kind("ConfigMap")[0], "data": config(a=refused, b=H100)["data"]})
        await bed.scan()
        bed.later(60)
        await bed.scan()

    run(body)
    assert bed.nodes() == ["b-1"]


def test_an_order_that_is_refused_before_it_is_met_fails() -> None:
    bed = Bed(h100=H100)
    bed.kube.add(pod())

    async def body() -> None:
        await bed.scan()
        stopped = copy.deepcopy(bed.kube.of_kind("ConfigMap")[0])
        stopped["data"] = config(h100={**H100, "refused": "GCE_STOCKOUT"})["data"]
        bed.kube.change(stopped)
        bed.later(60)
        await bed.scan()

    run(body)
    assert bed.nodes() == []
    assert [reason for reason, _ in bed.told()] == ["TriggeredScaleUp", "FailedScaleUp"]


def test_no_template_fits() -> None:
    bed = Bed(h100={**H100, "seconds": 0}, cpu={"labels": {"kind": "a100"}, "allocatable": {}})
    bed.kube.add(pod(kind="a100", gpus=1))
    run(lambda: cast(Awaitable[None], bed.scan()))
    why = "1 Insufficient nvidia.com/gpu, 1 node(s) didn't match Pod's node affinity/selector"
    assert bed.told() == [("NotTriggerScaleUp", f"pod didn't trigger scale-up: {why}")]


@pytest.mark.parametrize("reason", ["SchedulingGated", "Unschedulable"])
def test_nothing_happens_without_need(reason: str) -> None:
    """A pod that waits for something else, or that a node has room for which is about to be ready."""
    bed = Bed(h100={**H100, "seconds": 0})
    bed.kube.add(pod(reason=reason))
    if reason == "Unschedulable":
        new = node("by-hand", **{GPU: "8"})
        new["metadata"]["labels"] = {"kind": "h100"}
        new["spec"] = {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}
        bed.kube.add(new)
    before = bed.nodes()

    async def body() -> None:
        assert await bed.scan() is None

    run(body)
    assert (bed.nodes(), bed.told()) == (before, [])


def test_without_templates_nothing_is_done() -> None:
    bed = Bed()
    bed.kube.add(pod())
    run(lambda: cast(Awaitable[None], bed.scan()))
    assert [each["kind"] for each in bed.kube.objects.values()] == ["Pod"]


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "7",
        "{}",
        '{"allocatable": {"cpu": "much"}}',
        '{"allocatable": {}, "colour": "red"}',
        '{"allocatable": {}, "taints": [{"key": "a"}]}',
    ],
)
def test_a_template_that_is_none_is_named_and_the_others_count(text: str) -> None:
    bed = Bed(bad=text, h100={**H100, "seconds": 0})
    bed.kube.add(pod())

    async def body() -> None:
        await bed.scan()
        await bed.scan()

    run(body)
    assert bed.nodes() == ["h100-1"]
    ((reason, message),) = bed.told(CONFIG)
    assert reason == "InvalidTemplate"
    assert message.startswith("bad: ")


def test_a_node_that_is_refused_is_named_and_tried_again() -> None:
    """Another node, which the autoscaler does not see, has its name."""
    bed = Bed(h100={**H100, "seconds": 0})
    bed.kube.add(pod())

    async def body() -> None:
        await bed.scan()
        create, bed.kube.create = bed.kube.create, refuse_nodes(bed.kube)  # type: ignore[method-assign]
        with pytest.raises(KubeError):
            await bed.scan()
        bed.kube.create = create  # type: ignore[method-assign]
        await bed.scan()

    run(body)
    assert bed.told(CONFIG) == [("FailedToCreateNode", "taken")]
    assert bed.nodes() == ["h100-1"]


def refuse_nodes(kube: FakeKube) -> Any:
    create = kube.create

    async def refusing(path: str, obj: Obj, **options: Any) -> Obj:
        if obj["kind"] == "Node":
            raise KubeError(409, "AlreadyExists", "taken")
        return await create(path, obj, **options)

    return refusing


def test_in_a_cluster_the_pod_gets_the_node_that_was_made_for_it(tmp_path: Path) -> None:
    made = deployment("hungry", 1)
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {GPU: "1"}}

    async def body(kube: Kube) -> None:
        await add_node(kube, node("full"))
        await kube.create(path_of("Deployment", "default"), made)

        async def has(reason: str) -> bool:
            return reason in {told for told, _ in await events_of(kube, "hungry")}

        await until(lambda: has("FailedScheduling"))
        created = await kube.create(path_of("ConfigMap", "default"), config(h100={**H100, "seconds": 0.2}))
        new = await until(lambda: kube.get(path_of("Node", None, "h100-1")))
        assert await has("TriggeredScaleUp")
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        await kube.patch(path_of_object(new, "status"), {"status": {"conditions": [ready]}}, "strategic")

        async def bound() -> bool:
            return [pod["spec"].get("nodeName") for pod in await pods_of(kube, "hungry")] == ["h100-1"]

        await until(bound)

        async def settled() -> bool:
            left = (await kube.get(path_of_object(created)))["metadata"].get("annotations") or {}
            return SCALE_UPS not in left

        await until(settled)

    with running_cluster(tmp_path) as cluster:
        cluster.run(body)


L4 = {
    "labels": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
    "allocatable": {GPU: 8},
    "taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}],
}
H200 = {**L4, "labels": {"cloud.google.com/gke-accelerator": "nvidia-h200-141gb"}}


def compute_class(name: str, *accelerators: str, enabled: bool = True) -> Obj:
    return {
        "apiVersion": "cloud.google.com/v1",
        "kind": "ComputeClass",
        "metadata": {"name": name},
        "spec": {
            "priorities": [{"gpu": {"type": each, "count": 8}} for each in accelerators],
            "nodePoolAutoCreation": {"enabled": enabled},
        },
    }


def pod_of_class(name: str) -> Obj:
    waiting = pod()
    waiting["spec"]["nodeSelector"] = {"cloud.google.com/compute-class": name}
    waiting["spec"]["tolerations"] = [{"operator": "Exists"}]
    return waiting


def test_a_compute_class_brings_the_first_of_its_machines_that_can_be_had() -> None:
    bed = Bed(l4=L4, h200={**H200, "stock": 0})
    bed.kube.add(compute_class("fast", "nvidia-h200-141gb", "nvidia-l4"))
    bed.kube.add(pod_of_class("fast"))
    run(lambda: cast(Awaitable[None], bed.scan()))
    run(lambda: cast(Awaitable[None], bed.scan()))
    (made,) = bed.kube.of_kind("Node")
    assert made["metadata"]["name"] == "fast-l4-1"
    assert made["metadata"]["labels"]["cloud.google.com/compute-class"] == "fast"
    assert {"key": "cloud.google.com/compute-class", "value": "fast", "effect": "NoSchedule"} in made["spec"][
        "taints"
    ]
    assert [reason for reason, _ in bed.told()] == ["FailedScaleUp", "TriggeredScaleUp"]


@pytest.mark.parametrize(
    "other", [[], [compute_class("other", "nvidia-l4")], [compute_class("fast", "nvidia-l4", enabled=False)]]
)
def test_without_its_compute_class_a_pod_gets_no_node(other: list[Obj]) -> None:
    bed = Bed(l4=L4)
    for each in copy.deepcopy(other):
        bed.kube.add(each)
    bed.kube.add(pod_of_class("fast"))
    run(lambda: cast(Awaitable[None], bed.scan()))
    assert [reason for reason, _ in bed.told()] == ["NotTriggerScaleUp"]


def test_nodes_of_a_class_that_was_deleted_do_not_come_any_more() -> None:
    bed = Bed(l4={**L4, "seconds": 60})
    bed.kube.add(compute_class("fast", "nvidia-l4"))
    bed.kube.add(pod_of_class("fast"))

    async def body() -> None:
        assert await bed.scan() == 60
        del bed.kube.objects[path_of("ComputeClass", None, "fast")]
        bed.later(60)
        await bed.scan()

    run(body)
    assert bed.nodes() == []
