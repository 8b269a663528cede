"""The nodes that a plan asks for can be had, and on new hardware the model stays as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, PlanInvalid
from inference_rollouts.core.objects.api_groups import WORKLOAD_API
from inference_rollouts.core.objects.k8s import K8sObject, part, title_of
from inference_rollouts.core.objects.readiness import ready_pods
from inference_rollouts.core.objects.workload_kinds import pod_templates, servers_among
from inference_rollouts.core.plan.plan import Kind, PoolPlan
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.rollout.nodes import provisioner_of
from inference_rollouts.rollout.pods import base_url, pods_of, ports_in
from inference_rollouts.rollout.serving import listed

log = logging.getLogger(__name__)


def check_nodes(clients: Clients, plan: PoolPlan, run: str, manifests: list[K8sObject]) -> None:
    """What the plan creates to have nodes would be accepted; a node rollout keeps the model."""
    for each in servers_among(manifests):
        _require_counted(each)
    provisioner_of(clients, plan, plan.canary, run).check()
    if plan.kind is Kind.NODE:
        _check_model(clients, plan)
        for difference in _differences(clients.cluster, plan, manifests) if _is_template(plan) else ():
            log.warning("%s; a node rollout should change only the nodes", difference)


def _require_counted(workload: K8sObject) -> None:
    """Raises ClusterRefused where pods get devices by claims, of which nobody here can say which are free."""
    if any(part(each, "spec").get("resourceClaims") for each in pod_templates(workload)):
        raise ClusterRefused(
            f"{title_of(workload)} would get its devices by Dynamic Resource Allocation (resourceClaims), of "
            "which nobody here can say how many are free: ask for an extended resource such as "
            "nvidia.com/gpu, which a DeviceClass may offer by its extendedResourceName."
        )


def _check_model(clients: Clients, plan: PoolPlan) -> None:
    """Raises PlanInvalid unless the stable pods serve this very model under this name."""
    work, pod = plan.workload, ready_pods(pods_of(clients.cluster, plan.stable))[0]
    served = listed(
        clients.servers, pod["metadata"]["name"], base_url(pod, ports_in(clients.cluster, plan.stable)[0])
    )
    now = {each.name: each.path for each in served if each.parent is None}
    if now.get(work.served_model_name) != work.model:
        today = ", ".join(f"{name} ({path})" for name, path in now.items()) or "nothing"
        raise PlanInvalid(
            f"A node rollout keeps the model, but {plan.stable} serves {today} and the plan's workload "
            f"{work.served_model_name} ({work.model}); use kind base-model to change it."
        )


def _differences(cluster: Cluster, plan: PoolPlan, manifests: list[K8sObject]) -> list[str]:
    """How a new server is started otherwise than today's, whose Deployment has the name of its pool."""
    live = cluster.find(WORKLOAD_API, "Deployment", plan.stable)
    if live is None:
        return [f"there is no Deployment {plan.stable} to compare with"]
    wanted = next((each for each in manifests if _is_server(each, plan)), None)
    if wanted is None:
        return [f"no manifest is of a Deployment {plan.canary}, to be compared with {plan.stable}"]
    today, new = _container(live), _container(wanted)
    differences = []
    if today.get("image") != new.get("image"):
        differences.append(f"image {new.get('image')} in place of {today.get('image')}")
    before, after = (
        {each for each in vllm.server_options(container).items() if each[0] != "--port"}
        for container in (today, new)
    )
    if missing := before - after:
        differences.append(f"without arguments {_spelled(missing)}")
    if added := after - before:
        differences.append(f"with arguments {_spelled(added)}")
    return differences


def _spelled(options: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """Options as a command line has them."""
    return " ".join(" ".join(filter(None, (flag, *values))) for flag, values in sorted(options))


def _is_template(plan: PoolPlan) -> bool:
    """Whether servers are made otherwise than as a copy of today's."""
    return plan.workload.like == "template"


def _is_server(manifest: K8sObject, plan: PoolPlan) -> bool:
    return (manifest["kind"], manifest["metadata"]["name"]) == ("Deployment", plan.canary)


def _container(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first container, which is the model server's."""
    spec = deployment["spec"]["template"].get("spec") or {}
    containers: list[Mapping[str, Any]] = spec.get("containers") or [{}]
    return containers[0]
