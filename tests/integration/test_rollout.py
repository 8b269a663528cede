"""The verbs of a rollout on an API server that defaults, validates and owns fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients.kubeconfig import connect
from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.errors import ClusterUnavailable, RaiseRefused
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.routing.claim import ENDING, Standing
from inference_rollouts.rollout.claims import claimed_objects
from inference_rollouts.rollout.nodes import provisioner_of
from inference_rollouts.rollout.way_back import Restored
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.lab.apiserver_process import ApiServer
from tests.support.live_traffic import live_traffic
from tests.support.plans import RUN, llm_plan


def test_a_wrong_token_is_refused_with_a_sentence(kubeconfig: Path, tmp_path: Path) -> None:
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"]["token"] = "wrong"
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    with pytest.raises(ClusterUnavailable, match="does not allow GET"):
        KubernetesCluster(lambda: connect(path), "default").get("v1", "Node", "x")


def test_a_route_goes_through_a_whole_rollout_and_back(real: KubernetesCluster, server: ApiServer) -> None:
    traffic, before = live_traffic(real, server)
    with pytest.raises(RaiseRefused):
        traffic.shift(1, traffic.plan.all_steps[0], 1.0)
    traffic.permit(0, 1.0)
    assert traffic.shift(1, traffic.plan.all_steps[0], 1.0) == 1.0
    [claimed] = claimed_objects(real)
    assert claimed.claim is not None
    assert (claimed.claim.token, claimed.claim.percent) == ("5f3a", traffic.plan.all_steps[0].weight)
    traffic.way_back.retreat("slow")
    assert traffic.way_back.restore("slow", 2.0) is Restored.DONE
    after = real.get(GATEWAY_API, "HTTPRoute", "routes-to-llm")
    assert after["spec"] == before["spec"]
    assert list(after["metadata"]["annotations"]) == [ENDING]
    assert traffic.standings() == [Standing.RESTORED]
    told = sorted(real.select("v1", "Event"), key=lambda event: int(event["metadata"]["resourceVersion"]))
    reasons = [event["reason"] for event in told if event["involvedObject"]["name"] == "routes-to-llm"]
    assert reasons == ["CanaryAttached", "WeightShifted", "CanaryAlarm", "RolledBack"]


def test_a_compute_class_is_made_kept_and_deleted(real: KubernetesCluster) -> None:
    machines: list[dict[str, Any]] = [
        {
            "accelerator": "nvidia-h200-141gb",
            "count": 8,
            "machine_type": "a3-ultragpu-8g",
            "reservation": "h200",
            "zones": ["us-central1-a"],
        },
        {"accelerator": "nvidia-l4", "count": 8, "spot": True},
    ]
    plan = llm_plan(nodes={"provisioner": "compute-class", "machines": machines})
    clients = fake_clients(real, prometheus=FakePrometheus(FakeCluster()))
    brings = provisioner_of(clients, plan, "new", RUN)
    brings.check()
    assert real.find("cloud.google.com/v1", "ComputeClass", "new") is None
    brings.request()
    brings.request()
    live = real.get("cloud.google.com/v1", "ComputeClass", "new")
    assert [rule["gpu"]["type"] for rule in live["spec"]["priorities"]] == ["nvidia-h200-141gb", "nvidia-l4"]
    assert live["metadata"]["generation"] == 1
    brings.take_back()
    assert real.find("cloud.google.com/v1", "ComputeClass", "new") is None
    assert brings.readiness().phase is Phase.FAILED
