"""The workload controllers against the lab's API server, with the real kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab.kube.client import Kube
from lab.kube.objects import path_of, path_of_object
from tests.support.lab.cluster import (
    Cluster,
    add_node,
    condition_of,
    deployment,
    events_of,
    names,
    node,
    pods_of,
    remove,
    running_cluster,
    until,
)

Obj = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("controllers")) as made:
        made.run(lambda kube: add_node(kube, node("big", **{"nvidia.com/gpu": "4"})))
        yield made


async def available(kube: Kube, made: Obj) -> Obj:
    """Wait until the deployment is complete at its current generation."""

    async def probe() -> Obj | None:
        now = await kube.get(path_of_object(made))
        status = now.get("status", {})
        done = status.get("observedGeneration") == now["metadata"]["generation"]
        counts = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")]
        return now if done and counts == [now["spec"]["replicas"]] * 3 else None

    complete: Obj = await until(probe)
    return complete


def test_a_deployment_becomes_available_and_says_how(cluster: Cluster) -> None:
    made = deployment("first", 3)

    async def body(kube: Kube) -> None:
        await kube.create(path_of("Deployment", "default"), made)
        now = await available(kube, made)
        assert condition_of(now, "Available") == ("True", "MinimumReplicasAvailable")
        assert condition_of(now, "Progressing") == ("True", "NewReplicaSetAvailable")
        assert now["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        (replica_set,) = await kube.list(path_of("ReplicaSet", "default"), labelSelector="app=first")
        assert replica_set["status"]["availableReplicas"] == 3
        for pod in await pods_of(kube, "first"):
            assert pod["metadata"]["ownerReferences"][0]["uid"] == replica_set["metadata"]["uid"]
            assert "pod-template-hash" in pod["metadata"]["labels"]
            assert condition_of(pod, "PodScheduled")[0] == "True"
        reasons = {reason for reason, _ in await events_of(kube, "first")}
        assert {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled"} <= reasons
        await remove(kube, made)

    cluster.run(body)


def test_kubectl_follows_a_rollout_and_undoes_it(cluster: Cluster) -> None:
    made = deployment("rolling", 3)

    async def body(kube: Kube) -> None:
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        change = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "better"}]
        await kube.patch(path_of_object(made), change, "json")
        await available(kube, made)
        images = {pod["spec"]["containers"][0]["image"] for pod in await pods_of(kube, "rolling")}
        assert images == {"better"}

    cluster.run(body)
    assert "successfully rolled out" in cluster.kubectl("rollout", "status", "deployment/rolling")
    cluster.kubectl("rollout", "undo", "deployment/rolling")

    async def undone(kube: Kube) -> None:
        now = await available(kube, made)
        assert now["spec"]["template"]["spec"]["containers"][0]["image"] == "good"
        sets = await kube.list(path_of("ReplicaSet", "default"), labelSelector="app=rolling")
        assert sorted(each["spec"]["replicas"] for each in sets) == [0, 3]
        await remove(kube, made)

    cluster.run(undone)


def test_a_broken_image_stops_at_the_deadline_and_keeps_the_old_pods(cluster: Cluster) -> None:
    made = deployment("fragile", 2, progressDeadlineSeconds=1, strategy=surge_one())

    async def body(kube: Kube) -> None:
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        change = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "broken"}]
        await kube.patch(path_of_object(made), change, "json")

        async def stuck() -> Obj | None:
            now = await kube.get(path_of_object(made))
            return now if condition_of(now, "Progressing")[1] == "ProgressDeadlineExceeded" else None

        now = await until(stuck)
        assert condition_of(now, "Available")[0] == "True"
        assert now["status"]["availableReplicas"] == 2

    cluster.run(body)
    told = cluster.kubectl("rollout", "status", "deployment/fragile", ok=False)
    assert "exceeded its progress deadline" in told
    cluster.run(lambda kube: remove(kube, made))


def surge_one() -> Obj:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_scaling_beyond_capacity_says_unschedulable_until_there_is_room(cluster: Cluster) -> None:
    made = deployment("hungry", 5)
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"nvidia.com/gpu": "1"}}

    async def body(kube: Kube) -> None:
        await kube.create(path_of("Deployment", "default"), made)

        async def waiting() -> Obj | None:
            for pod in await pods_of(kube, "hungry"):
                if condition_of(pod, "PodScheduled") == ("False", "Unschedulable"):
                    return pod
            return None

        pod = await until(waiting)
        message = pod["status"]["conditions"][0]["message"]
        assert message.startswith("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
        assert ("FailedScheduling", message) in await until(lambda: events_of(kube, pod["metadata"]["name"]))
        await add_node(kube, node("second", **{"nvidia.com/gpu": "4"}))
        await available(kube, made)
        await remove(kube, made)
        await kube.delete(path_of("Node", None, "second"))

    cluster.run(body)


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_deleting_a_deployment_takes_everything_along(cluster: Cluster, cascade: str) -> None:
    made = deployment(f"whole-{cascade}")

    async def body(kube: Kube) -> None:
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        await kube.delete(path_of_object(made), propagationPolicy=cascade.title())

        async def gone() -> bool:
            kinds = ("Deployment", "ReplicaSet", "Pod")
            left = [name for kind in kinds for name in names(await kube.list(path_of(kind, "default")))]
            return not any(name.startswith("whole") for name in left)

        await until(gone)

    cluster.run(body)


def test_orphans_stay_and_are_adopted_again(cluster: Cluster) -> None:
    made = deployment("orphaned")

    async def body(kube: Kube) -> None:
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        before = names(await pods_of(kube, "orphaned"))
        await kube.delete(path_of_object(made), propagationPolicy="Orphan")

        async def orphan() -> bool:
            """The deployment goes after its children were released: only then its name is free."""
            if "orphaned" in names(await kube.list(path_of("Deployment", "default"))):
                return False
            sets = await kube.list(path_of("ReplicaSet", "default"), labelSelector="app=orphaned")
            return bool(sets) and not sets[0]["metadata"].get("ownerReferences")

        await until(orphan)
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        assert names(await pods_of(kube, "orphaned")) == before
        await remove(kube, made)

    cluster.run(body)


def test_a_pod_that_loses_its_label_is_released_and_replaced(cluster: Cluster) -> None:
    made = deployment("labelled", 1)

    async def body(kube: Kube) -> None:
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        (pod,) = await pods_of(kube, "labelled")
        await kube.patch(path_of_object(pod), {"metadata": {"labels": {"app": "taken-out"}}})

        async def replaced() -> bool:
            released = await kube.get(path_of_object(pod))
            return bool(await pods_of(kube, "labelled")) and not released["metadata"].get("ownerReferences")

        await until(replaced)
        await available(kube, made)
        await remove(kube, made, pod)

    cluster.run(body)


def test_pods_of_a_lost_node_start_elsewhere(cluster: Cluster) -> None:
    made = deployment("moving", 2)

    async def body(kube: Kube) -> None:
        await kube.patch(path_of("Node", None, "big"), {"spec": {"unschedulable": True}})
        await add_node(kube, node("doomed"))
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        await kube.patch(path_of("Node", None, "big"), {"spec": {"unschedulable": None}})
        lost = node("doomed")
        lost["status"]["conditions"][0].update(status="False", reason="KubeletNotReady")
        await kube.patch(path_of("Node", None, "doomed", "status"), {"status": lost["status"]}, "strategic")

        async def moved() -> bool:
            nodes = {pod["spec"].get("nodeName") for pod in await pods_of(kube, "moving")}
            return nodes == {"big"}

        await until(moved)
        taints = (await kube.get(path_of("Node", None, "doomed")))["spec"]["taints"]
        assert {taint["effect"] for taint in taints} == {"NoSchedule", "NoExecute"}
        await remove(kube, made)
        await kube.delete(path_of("Node", None, "doomed"))

    cluster.run(body)


def test_a_node_that_falls_silent_is_unknown_and_its_pods_are_evicted(cluster: Cluster) -> None:
    made = deployment("silent", 1)

    async def body(kube: Kube) -> None:
        await kube.patch(path_of("Node", None, "big"), {"spec": {"unschedulable": True}})
        await add_node(kube, node("mute"))
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        await kube.patch(path_of("Node", None, "big"), {"spec": {"unschedulable": None}})
        spec = {"holderIdentity": "mute", "renewTime": "2020-01-01T00:00:00.000000Z"}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
        lease["metadata"] = {"name": "mute"}
        await kube.create(path_of("Lease", "kube-node-lease"), lease)

        async def unknown() -> bool:
            now = await kube.get(path_of("Node", None, "mute"))
            return condition_of(now, "Ready") == ("Unknown", "NodeStatusUnknown")

        await until(unknown)

        async def moved() -> bool:
            return {pod["spec"].get("nodeName") for pod in await pods_of(kube, "silent")} == {"big"}

        await until(moved)
        await remove(kube, made)
        await kube.delete(path_of("Node", None, "mute"))

    cluster.run(body)


def test_pods_of_a_deleted_node_are_removed(cluster: Cluster) -> None:
    made = deployment("homeless", 1)

    async def body(kube: Kube) -> None:
        await kube.patch(path_of("Node", None, "big"), {"spec": {"unschedulable": True}})
        await add_node(kube, node("brief"))
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        before = names(await pods_of(kube, "homeless"))
        await kube.delete(path_of("Node", None, "brief"))

        async def gone() -> bool:
            return not before & names(await pods_of(kube, "homeless"))

        await until(gone)
        await kube.patch(path_of("Node", None, "big"), {"spec": {"unschedulable": None}})
        await available(kube, made)
        await remove(kube, made)

    cluster.run(body)


def test_killed_controllers_go_on_where_they_were(cluster: Cluster) -> None:
    made = deployment("steady", 4)

    async def begin(kube: Kube) -> None:
        await kube.create(path_of("Deployment", "default"), made)
        await available(kube, made)
        change = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "better"}]
        await kube.patch(path_of_object(made), change, "json")

        async def half_way() -> bool:
            pods = await pods_of(kube, "steady")
            return any(pod["spec"]["containers"][0]["image"] == "better" for pod in pods)

        await until(half_way)

    async def finish(kube: Kube) -> None:
        await available(kube, made)
        assert len(await pods_of(kube, "steady")) == 4
        await remove(kube, made)

    cluster.run(begin)
    cluster.kill("manager")
    cluster.start_manager()
    cluster.run(finish)
