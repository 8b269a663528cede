"""What people run behind an InferencePool: each stack as a change of the pool of `real_pool`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from inference_rollouts.core.objects.api_groups import COMPUTE_CLASS_API, LEADERS_API, WORKLOAD_API
from inference_rollouts.core.objects.workload_kinds import WORKER_INDEX
from tests.support.fake_cluster import POOL_API, FakeCluster
from tests.support.real_pool import LABELS, STABLE, real_pool

Change = Callable[[FakeCluster], None]
Object = dict[str, Any]

TPUS = {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
    "cloud.google.com/gke-tpu-topology": "2x4",
    "cloud.google.com/compute-class": "tpus",
}


def stack(change: Change) -> FakeCluster:
    """A cluster with such a pool."""
    cluster = real_pool()
    node = copy.deepcopy(cluster.objects["Node", "gpu-node-1"])
    cluster.put("v1", "Node", node | {"metadata": node["metadata"] | {"name": "gpu-node-2"}})
    change(cluster)
    return cluster


def several_deployments(cluster: FakeCluster) -> None:
    """One for long prompts beside the other."""
    other = _taken(cluster, keep=True)
    _relabel(other, tier="long")
    _server(other["template"])["args"] += ["--enable-chunked-prefill"]
    cluster.put(WORKLOAD_API, "Deployment", {"metadata": {"name": "long-prompts"}, "spec": other})


def stateful_set(cluster: FakeCluster) -> None:
    """With a claim of each pod, and the headless Service that names its pods."""
    spec = _taken(cluster)
    claim = {
        "metadata": {"name": "cache"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "200Gi"}}},
    }
    spec |= {
        "serviceName": "chat-headless",
        "podManagementPolicy": "Parallel",
        "volumeClaimTemplates": [claim],
    }
    cluster.put(WORKLOAD_API, "StatefulSet", {"metadata": {"name": STABLE}, "spec": spec})
    _scaled(cluster, WORKLOAD_API, "StatefulSet")


def leaders_and_workers(cluster: FakeCluster) -> None:
    """Two groups of a leader, which answers, and a worker on another host."""
    _groups(cluster, "vllm serve", {"app": "vllm-llama", "role": "leader"})


def equal_leaders_and_workers(cluster: FakeCluster) -> None:
    """One template for all; the pool selects leaders by their index. The set is not called like the pool."""
    _groups(cluster, "", {"app": "vllm-llama", WORKER_INDEX: "0"}, name="big-model")


def prefill_and_decode(cluster: FakeCluster) -> None:
    """Two roles behind one pool; a sidecar of the decoders brings prompts to the prefillers."""
    decode = _taken(cluster)
    prefill = copy.deepcopy(decode)
    for spec, role, size in ((prefill, "prefill", 1), (decode, "decode", 2)):
        _relabel(spec, role=role)
        spec["replicas"] = size
        transfer = '{"kv_connector": "NixlConnector", "kv_role": "kv_both"}'
        _server(spec["template"])["args"] += [f"--kv-transfer-config={transfer}"]
        cluster.put(WORKLOAD_API, "Deployment", {"metadata": {"name": f"{STABLE}-{role}"}, "spec": spec})
    router = {
        "name": "routing-proxy",
        "image": "llm-d-routing-sidecar:v0.4.0",
        "restartPolicy": "Always",
        "args": ["--port=8000", "--vllm-port=8200", "--connector=nixlv2"],
    }
    decode["template"]["spec"]["initContainers"].append(router)
    _server(decode["template"])["args"] += ["--port=8200"]
    cluster.put(WORKLOAD_API, "Deployment", {"metadata": {"name": f"{STABLE}-decode"}, "spec": decode})
    cluster.objects["HorizontalPodAutoscaler", STABLE]["spec"]["scaleTargetRef"]["name"] = f"{STABLE}-decode"


def https_on_ipv6(cluster: FakeCluster) -> None:
    """Probed by HTTPS, at addresses of IPv6."""
    cluster.addresses = "fd00::{place}:{pod}"
    spec = _taken(cluster)
    probe = {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTPS"}}
    _server(spec["template"])["readinessProbe"] = probe
    cluster.put(WORKLOAD_API, "Deployment", {"metadata": {"name": STABLE}, "spec": spec})


def reasoning(cluster: FakeCluster) -> None:
    """Answers have reasoning of their own field."""
    spec = _taken(cluster)
    _server(spec["template"])["args"] += ["--reasoning-parser=qwen3"]
    cluster.put(WORKLOAD_API, "Deployment", {"metadata": {"name": STABLE}, "spec": spec})


def tpus(cluster: FakeCluster) -> None:
    """A slice for each pod, of a ComputeClass that brings the nodes."""
    spec = _taken(cluster)
    chips = {"google.com/tpu": "4"}
    _server(spec["template"])["resources"] = {"limits": chips, "requests": chips}
    spec["template"]["spec"]["nodeSelector"] = dict(TPUS)
    spec["template"]["spec"]["tolerations"] = [{"key": "google.com/tpu", "operator": "Exists"}]
    cluster.put(WORKLOAD_API, "Deployment", {"metadata": {"name": STABLE}, "spec": spec})
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"google.com/tpu": "4"}}
    taint = {"key": "google.com/tpu", "value": "present", "effect": "NoSchedule"}
    node = {"metadata": {"name": "tpu-1", "labels": dict(TPUS)}, "spec": {"taints": [taint]}, "status": ready}
    cluster.put("v1", "Node", node)
    cluster.served.add((COMPUTE_CLASS_API, "ComputeClass"))
    cluster.put(COMPUTE_CLASS_API, "ComputeClass", {"metadata": {"name": "tpus"}, "spec": {"priorities": []}})


def one_port(cluster: FakeCluster) -> None:
    """One Deployment with one port and one container."""
    pool = copy.deepcopy(cluster.objects["InferencePool", STABLE])
    pool["spec"]["targetPorts"] = [{"number": 8000}]
    cluster.put(POOL_API, "InferencePool", pool)


STACKS: tuple[Change, ...] = (
    one_port,
    several_deployments,
    stateful_set,
    leaders_and_workers,
    equal_leaders_and_workers,
    prefill_and_decode,
    https_on_ipv6,
    reasoning,
    tpus,
)


def _taken(cluster: FakeCluster, *, keep: bool = False) -> Object:
    """The spec of stable's Deployment, which goes unless it is kept."""
    live = cluster.objects["Deployment", STABLE]
    spec: Object = copy.deepcopy(live["spec"])
    if not keep:
        cluster.put(WORKLOAD_API, "Deployment", live | {"spec": {**live["spec"], "replicas": 0}})
        del cluster.objects["Deployment", STABLE]
    return spec


def _relabel(spec: Object, **labels: str) -> None:
    spec["template"]["metadata"]["labels"] = LABELS | labels
    spec["selector"]["matchLabels"] = {"app": LABELS["app"]} | labels


def _server(template: Object) -> Object:
    server: Object = template["spec"]["containers"][1]
    return server


def _scaled(cluster: FakeCluster, api: str, kind: str, name: str = STABLE) -> None:
    """The autoscaler means this workload."""
    scaler = cluster.objects["HorizontalPodAutoscaler", STABLE]
    scaler["spec"]["scaleTargetRef"] = {"apiVersion": api, "kind": kind, "name": name}


def _groups(cluster: FakeCluster, leader: str, selector: dict[str, str], name: str = STABLE) -> None:
    cluster.served.add((LEADERS_API, "LeaderWorkerSet"))
    template = _taken(cluster)["template"]
    worker = copy.deepcopy(template)
    groups: Object = {"size": 2, "restartPolicy": "RecreateGroupOnPodRestart", "workerTemplate": worker}
    if leader:
        template["metadata"]["labels"] = LABELS | {"role": "leader"}
        joins = {"command": ["ray", "start"], "args": ["--address=$(LWS_LEADER_ADDRESS):6379", "--block"]}
        worker["metadata"]["labels"] = LABELS | {"role": "worker"}
        _server(worker).update(joins)
        groups["leaderTemplate"] = template
    spec = {"replicas": 2, "leaderWorkerTemplate": groups, "startupPolicy": "LeaderCreated"}
    pool = copy.deepcopy(cluster.objects["InferencePool", STABLE])
    pool["spec"]["selector"]["matchLabels"] = selector
    cluster.put(POOL_API, "InferencePool", pool)
    cluster.put(LEADERS_API, "LeaderWorkerSet", {"metadata": {"name": name}, "spec": spec})
    _scaled(cluster, LEADERS_API, "LeaderWorkerSet", name)
