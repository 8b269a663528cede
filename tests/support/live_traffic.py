"""A route on a real API server, and the traffic of a rollout that moves it."""

from __future__ import annotations

from typing import Any

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.traffic import Traffic
from tests.support.lab.apiserver_process import ApiServer
from tests.support.plans import RUN, llm_plan
from tests.support.routes import ref

NAME, TOKEN = "routes-to-llm", "5f3a"


def live_traffic(real: KubernetesCluster, server: ApiServer) -> tuple[Traffic, dict[str, Any]]:
    """The traffic of a rollout that has attached its canary, and the route as somebody made it."""
    made: dict[str, Any] = {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": NAME, "namespace": real.namespace},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [ref("llm-pool")]}]},
    }
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{real.namespace}/httproutes"
    before: dict[str, Any] = server.ok("POST", f"{path}?fieldManager=somebody", made)
    plan = llm_plan()
    frozen = Frozen(
        run=RUN,
        token=TOKEN,
        plan=plan,
        parents=(),
        targets=(Target(GATEWAY_API, "HTTPRoute", NAME),),
        metric_set=load_metric_set(*plan.metrics),
        manifests=(),
    )
    traffic = Traffic(real, frozen, kind_of(plan).places)
    traffic.attach()
    return traffic, before
