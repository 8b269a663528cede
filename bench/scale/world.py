"""Rollouts by number, as a cluster and a metrics store know them: 8 pods an arm, ten metrics."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from bench.cost import ten_metrics
from inference_rollouts.clients.include import plans_folder
from inference_rollouts.core.judging.policy import StepContext
from inference_rollouts.core.objects.api_groups import GATEWAY_API, POOL_APIS
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.plan.plan import PoolPlan, parse_plan
from inference_rollouts.core.routing.claim import CLAIM, Claim, Owner, place_of
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.guard import guard_of

NAMESPACE, GATEWAY, CONTROLLER = "default", "inference-gateway", "example.com/gateway"
PODS, INTERVAL, SCRAPE_DELAY = 8, 5.0, 0.5
ARMS = ("old", "new")
CHURN = 0.5  # seconds from one change of some pod's status to the next
Object = dict[str, Any]


def plan_of(number: int) -> PoolPlan:
    """The example plan, for pools of this rollout alone, with a bake that no benchmark sees the end of."""
    value = _example() | {
        "name": f"llm-{number}",
        "stable": f"old-{number}",
        "canary": f"new-{number}",
        "routes": [{"name": f"route-{number}"}],
        "metrics": ["vllm"],
        "initial_delay": 0,
        "analysis": {"interval": INTERVAL, "scrape_delay": SCRAPE_DELAY},
        "steps": [{"weight": 50, "bake": "7d"}, {"weight": 100, "bake": "5m"}],
    }
    return parse_plan(value).as_pool_plan


@cache
def _example() -> Object:
    value: Object = yaml.safe_load((plans_folder() / "llm.yaml").read_text())
    return value


_metrics = cache(ten_metrics)


def frozen_of(number: int) -> Frozen:
    """As preflight would have frozen it."""
    return Frozen(
        run=f"rollout_llm-{number}/scheduled",
        plan=plan_of(number),
        parents=(Parent(GATEWAY, NAMESPACE, controller=CONTROLLER),),
        targets=(Target(GATEWAY_API, "HTTPRoute", f"route-{number}"),),
        metric_set=_metrics(),
        manifests=(),
        stable_pods=PODS,
        token=f"{number:032x}",
    )


def context_of(frozen: Frozen, since: float) -> StepContext:
    """Its first step."""
    return frozen.plan.step_context(1, since)


def objects_of(number: int, since: float) -> list[Object]:
    """Everything that an observation of a rollout reads, in the first step since `since` (Unix time)."""
    return [
        _route(number, since),
        *(each for arm in ARMS for each in _pool(f"{arm}-{number}")),
    ]


def _route(number: int, since: float) -> Object:
    pool = {"group": POOL_APIS[0].partition("/")[0], "kind": "InferencePool"}
    found = [pool | {"name": f"old-{number}", "weight": 1}]
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": GATEWAY}
    rules = [
        {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": found}
        for path in ("/v1/chat", "/v1/completions")
    ]
    route = _object(GATEWAY_API, "HTTPRoute", f"route-{number}", {"parentRefs": [parent], "rules": rules})
    frozen = frozen_of(number)
    claim = Claim(
        token=frozen.token,
        owner=Owner(run=frozen.run),
        plan=frozen.plan.name,
        stable=frozen.plan.stable,
        canary=frozen.plan.canary,
        steps=len(frozen.plan.all_steps),
        step=1,
        percent=50,
        since=since,
        places=tuple(place_of(route, f"/spec/rules/{place}") for place in range(2)),
        guard=guard_of(frozen),
    )
    moved = [pool | {"name": f"{arm}-{number}", "weight": 50} for arm in ARMS]
    for rule in rules:
        rule["backendRefs"] = moved
    route["metadata"]["annotations"] = {CLAIM: claim.to_json()}
    conditions = [_condition(name) for name in ("Accepted", "ResolvedRefs")]
    status = {"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions}
    return route | {"status": {"parents": [status]}}


def _pool(name: str) -> list[Object]:
    """A pool with its pods, and its picker with Service and pod."""
    picker = {"name": f"{name}-epp", "port": {"number": 9002}, "failureMode": "FailOpen"}
    spec = {"selector": {"matchLabels": {"inference-pool": name}}, "targetPorts": [{"number": 8000}]}
    pool = _object(POOL_APIS[0], "InferencePool", name, spec | {"endpointPickerRef": picker})
    service = _object("v1", "Service", f"{name}-epp", {"selector": {"app": f"{name}-epp"}})
    pods = [_pod(f"{name}-{number}", {"inference-pool": name}) for number in range(PODS)]
    return [pool, service, *pods, _pod(f"{name}-epp-0", {"app": f"{name}-epp"})]


def _pod(name: str, labels: dict[str, str]) -> Object:
    """About as large as a pod of a model server is."""
    environment = [{"name": f"VARIABLE_{place}", "value": "x" * 40} for place in range(20)]
    container = {
        "name": "server",
        "image": "vllm/vllm-openai:v0.32.0",
        "args": ["--max-num-seqs=64", "--model=meta-llama/Llama-3.1-8B-Instruct"],
        "env": environment,
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        "volumeMounts": [{"name": f"volume-{place}", "mountPath": f"/mnt/{place}"} for place in range(6)],
    }
    spec = {"containers": [container], "nodeName": "node-1", "serviceAccountName": "default"}
    pod = _object("v1", "Pod", name, spec)
    pod["metadata"]["labels"] = labels
    managed: Object = {f"f:field{place}": {"f:type": {}, "f:status": {}} for place in range(30)}
    pod["metadata"]["managedFields"] = [{"manager": "kubelet", "fieldsV1": managed}]
    status = {"name": "server", "restartCount": 0, "ready": True, "image": "vllm/vllm-openai:v0.32.0"}
    conditions = [_condition(each) for each in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    return pod | {
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": conditions,
            "containerStatuses": [status],
        }
    }


def _condition(kind: str) -> Object:
    times = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    return {"type": kind, "status": "True", "reason": kind, "message": "as it should be"} | times


def _object(api: str, kind: str, name: str, spec: Object) -> Object:
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{kind}-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
