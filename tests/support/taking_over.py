"""Rollouts of a pool with all that people attach to one, as preflight freezes them."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.takeover import Verdict
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.run.frozen import Frozen
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import freeze
from tests.support.plans import llm
from tests.support.real_pool import CANARY, SIX_LINES, STABLE, real_pool, servers

Key = tuple[str, str]


def frozen(cluster: FakeCluster | None = None, **changes: Any) -> Frozen:
    """What preflight freezes of the plan of six lines."""
    plan = parse_plan({"name": "chat"} | SIX_LINES | changes)
    return freeze(cluster or real_pool(), plan, servers=servers()).frozen


def of_templates(cluster: FakeCluster, **changes: Any) -> Frozen:
    """The same of a plan whose canary comes of templates."""
    work = llm()["workload"] | {"args": ["--served-model-name", "llama-3.1-8b", "llama"]}
    plan = parse_plan(llm(name="chat", stable=STABLE, canary=CANARY, workload=work, **changes))
    return freeze(cluster, plan, servers=servers()).frozen


def made(run: Frozen) -> dict[Key, K8sObject]:
    return {(each["kind"], each["metadata"]["name"]): each for each in run.manifests}


def rows(run: Frozen, verdict: Verdict) -> list[str]:
    return sorted(f"{each.object} {each.field}".strip() for each in run.findings if each.verdict is verdict)


def put(cluster: FakeCluster, api: str, kind: str, name: str, spec: dict[str, Any], **meta: Any) -> None:
    cluster.served.add((api, kind))
    cluster.put(api, kind, {"metadata": {"name": name, **meta}, "spec": spec})
