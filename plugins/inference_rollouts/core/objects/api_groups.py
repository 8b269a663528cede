"""The API groups, versions and kinds that a rollout reads and writes; of several, the newest first."""

from __future__ import annotations

WORKLOAD_API = "apps/v1"
LEADERS_API = "leaderworkerset.x-k8s.io/v1"
LEASE_API = "coordination.k8s.io/v1"
GATEWAY_API = "gateway.networking.k8s.io/v1"
POOL_APIS = ("inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2")
POOL_GROUPS = frozenset(api.partition("/")[0] for api in POOL_APIS)
# Where objectives and rewrites live: an endpoint picker reads the newest that is installed.
EXTENSION_APIS = ("llm-d.ai/v1alpha2", "inference.networking.x-k8s.io/v1alpha2")
BOUND_KINDS = ("InferenceObjective", "InferenceModelRewrite", "InferenceModel")
SPLITTING_KINDS = ("InferenceModelRewrite", "InferenceModel")
GKE_API = "networking.gke.io/v1"
POLICY_KINDS = frozenset({"HealthCheckPolicy", "GCPBackendPolicy"})  # GKE: each pool needs its own
COMPUTE_CLASS_API = "cloud.google.com/v1"
ATTACHED = (
    ("v1", "Service"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
)
"""The kinds of Kubernetes itself that may be attached to a pool, its pods or its workload."""
NOT_ATTACHED = frozenset(
    {"HTTPRoute", "InferencePool", "Gateway", "ReferenceGrant", "LeaderWorkerSet", *BOUND_KINDS}
)
"""The kinds of extensions that are not: what moves, pools, what runs their servers, and
what is bound to one by a field of its own."""
