"""A pool as people run it: with policies, an autoscaler, a budget, filters, eight ports and sidecars."""

from __future__ import annotations

import copy
from typing import Any

from inference_rollouts.core.objects.api_groups import GKE_API
from inference_rollouts.core.serving.adapters import Served
from tests.support.fake_cluster import POOL_API, FakeCluster
from tests.support.fake_servers import FakeServers
from tests.support.routes import ref

STABLE, CANARY = "chat", "chat-v2"
MODEL, NAME = "meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"
LABELS = {"app": "vllm-llama", "team": "chat-team"}
TEAPOT_API = "brew.example.com/v1alpha1"
FILTERS = [
    {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-internal"]}},
    {"type": "URLRewrite", "urlRewrite": {"hostname": "internal.example.com"}},
]
TARGET = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": STABLE}
SIX_LINES: dict[str, Any] = {
    "kind": "base-model",
    "stable": STABLE,
    "canary": CANARY,
    "workload": {"like": "stable", "image": "vllm/vllm-openai:v0.32.0"},
    "steps": [{"weight": 10, "bake": "5m"}, {"weight": 100, "bake": "5m"}],
}


def servers() -> FakeServers:
    return FakeServers(models_of_all=[Served(NAME, MODEL), Served("llama", MODEL)])


def real_pool() -> FakeCluster:
    """A cluster with such a pool, and nothing else that serves."""
    cluster = FakeCluster([ref(STABLE) | {"port": 8000, "filters": copy.deepcopy(FILTERS)}])
    for key in [key for key in cluster.objects if key[1].startswith("llm-pool")]:
        del cluster.objects[key]
    kinds = (
        ("policy/v1", "PodDisruptionBudget"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("keda.sh/v1alpha1", "ScaledObject"),
        ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"),
        ("monitoring.googleapis.com/v1", "PodMonitoring"),
        ("networking.istio.io/v1", "DestinationRule"),
        (GKE_API, "GCPBackendPolicy"),
        (GKE_API, "HealthCheckPolicy"),
        (TEAPOT_API, "TeapotPolicy"),
    )
    cluster.served |= set(kinds)
    _serve(cluster)
    _attach(cluster)
    return cluster


def _put(cluster: FakeCluster, api: str, kind: str, name: str, spec: dict[str, Any], **meta: Any) -> None:
    cluster.put(api, kind, copy.deepcopy({"metadata": {"name": name, **meta}, "spec": spec}))


def _serve(cluster: FakeCluster) -> None:
    """Pool, servers and picker."""
    pool = {
        "selector": {"matchLabels": {"app": "vllm-llama"}},
        "targetPorts": [{"number": port} for port in range(8000, 8008)],
        "endpointPickerRef": {"name": "chat-epp", "port": {"number": 9002}, "failureMode": "FailClose"},
    }
    _put(cluster, POOL_API, "InferencePool", STABLE, pool)
    server = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.31.0",
        "command": ["vllm", "serve"],
        "args": [MODEL, "--served-model-name", NAME, "llama", "--max-num-seqs=64", "--max-model-len=32768"],
        "resources": {"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "2", "cpu": "8"}},
        "env": [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}],
        "securityContext": {"runAsNonRoot": True},
        "volumeMounts": [{"name": "weights", "mountPath": "/weights"}],
    }
    logs = {"name": "logs", "image": "fluent-bit:3"}
    proxy = {"name": "proxy", "image": "envoy:1", "restartPolicy": "Always"}  # a native sidecar
    template = {
        "metadata": {"labels": LABELS, "annotations": {"prometheus.io/scrape": "true"}},
        "spec": {
            "serviceAccountName": "vllm",
            "nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"},
            "containers": [logs, server],
            "initContainers": [proxy],
            "volumes": [{"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}],
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"app": "vllm-llama"}},
                }
            ],
        },
    }
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "vllm-llama"}}, "template": template}
    tracked = {"app.kubernetes.io/instance": "chat", "team": "chat-team"}
    _put(cluster, "apps/v1", "Deployment", STABLE, spec, labels=tracked)
    args = ["--pool-name", STABLE, "--pool-namespace=default", "--config=/etc/epp.yaml"]
    picker = {
        "metadata": {"labels": {"app": "chat-epp"}},
        "spec": {"containers": [{"name": "epp", "image": "epp:v1.6.0", "args": args}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "chat-epp"}}, "template": picker}
    _put(cluster, "apps/v1", "Deployment", "chat-epp", spec)
    service = {"selector": {"app": "chat-epp"}, "clusterIP": "10.0.0.7", "ports": [{"port": 9002}]}
    _put(cluster, "v1", "Service", "chat-epp", service)
    _put(cluster, "v1", "Service", "chat-headless", {"selector": {"app": "vllm-llama"}, "clusterIP": "None"})


def _attach(cluster: FakeCluster) -> None:
    """What is attached to them."""
    default = {
        "timeoutSec": 3600,
        "securityPolicy": "armor",
        "iap": {"enabled": True, "oauth2ClientSecret": {"name": "iap"}},
        "logging": {"enabled": True, "sampleRate": 500000},
    }
    _put(cluster, GKE_API, "GCPBackendPolicy", STABLE, {"targetRef": TARGET, "default": default})
    check = {"type": "HTTP", "httpHealthCheck": {"requestPath": "/ready", "port": 8000}}
    spec = {"targetRef": TARGET, "default": {"config": check}}
    _put(cluster, GKE_API, "HealthCheckPolicy", "chat-health", spec)
    other = {"kind": "Service", "name": "web"}
    _put(cluster, TEAPOT_API, "TeapotPolicy", "short-and-stout", {"targetRefs": [other, TARGET], "spout": 1})
    _put(cluster, "policy/v1", "PodDisruptionBudget", "chat", {
        "minAvailable": 1, "selector": {"matchLabels": {"app": "vllm-llama"}},
    })  # fmt: skip
    _put(cluster, "networking.k8s.io/v1", "NetworkPolicy", "only-gateway", {
        "podSelector": {"matchLabels": {"app": "vllm-llama"}},
        "ingress": [{"from": [{"namespaceSelector": {}}]}],
    })  # fmt: skip
    _put(cluster, "networking.k8s.io/v1", "NetworkPolicy", "default-deny", {"podSelector": {}})
    _put(cluster, "networking.k8s.io/v1", "NetworkPolicy", "cache", {
        "podSelector": {"matchLabels": {"app": "redis"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "vllm-llama"}}}]}],
    })  # fmt: skip
    _put(cluster, "autoscaling/v2", "HorizontalPodAutoscaler", "chat", {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": STABLE},
        "minReplicas": 1, "maxReplicas": 8,
    })  # fmt: skip
    _put(cluster, "autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "chat", {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": STABLE},
    })  # fmt: skip
    _put(cluster, "monitoring.googleapis.com/v1", "PodMonitoring", "chat", {
        "selector": {"matchLabels": {"app": "vllm-llama"}}, "endpoints": [{"port": 8000, "interval": "5s"}],
    })  # fmt: skip
    _put(cluster, "networking.istio.io/v1", "DestinationRule", "chat-epp", {
        "host": "chat-epp.default.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "SIMPLE"}},
    })  # fmt: skip
