"""What a plan changes of stable's own workload."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from inference_rollouts.core.errors import (
    ClusterRefused,
    PlanInvalid,
)
from inference_rollouts.core.objects.api_groups import GKE_API
from inference_rollouts.core.objects.takeover import Verdict
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.engines import vllm
from tests.support.freezing import refused
from tests.support.include import copy_of_include
from tests.support.real_pool import CANARY, SIX_LINES, STABLE, real_pool, servers
from tests.support.taking_over import frozen, made, of_templates, put, rows


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_of_include(tmp_path, monkeypatch)


def test_a_plan_s_changes_are_a_patch_on_stable_s_own() -> None:
    work = {
        "like": "stable",
        "model": "meta-llama/Llama-3.3-70B-Instruct",
        "args": ["--max-num-seqs=128", "--enable-prefix-caching", "--max-model-len=32768"],
        "accelerator": {"resource": "nvidia.com/gpu", "per_replica": 8},
        "replicas": 3,
    }
    nodes = {"provisioner": "existing", "selector": {"cloud.google.com/gke-nodepool": "h200"}}
    cluster = real_pool()
    cluster.objects["Node", "gpu-node-1"]["metadata"]["labels"] |= nodes["selector"]
    run = frozen(cluster, workload=work, nodes=nodes)
    spec = made(run)["Deployment", CANARY]["spec"]
    server = spec["template"]["spec"]["containers"][1]
    assert server["command"] == ["vllm", "serve"]
    assert server["args"] == [
        "meta-llama/Llama-3.3-70B-Instruct",
        "--served-model-name", "llama-3.1-8b", "llama",
        "--max-model-len=32768", "--max-num-seqs=128", "--enable-prefix-caching",
    ]  # fmt: skip
    assert server["resources"] == {
        "limits": {"nvidia.com/gpu": "8"},
        "requests": {"cpu": "8", "nvidia.com/gpu": "8"},
    }
    assert spec["replicas"] == 3
    assert spec["template"]["spec"]["nodeSelector"] == nodes["selector"]
    work_now = run.plan.as_pool_plan.workload
    assert (work_now.served_model_name, work_now.replicas, work_now.port) == ("llama-3.1-8b", 3, 8000)
    assert set(rows(run, Verdict.CHANGED)) >= {
        "Deployment chat containers[1].args.model",
        "Deployment chat containers[1].args.--max-num-seqs",
        "Deployment chat nodeSelector.cloud.google.com/gke-nodepool",
        "Deployment chat replicas",
    }


def test_nothing_changed_at_all_is_said_in_a_word() -> None:
    run = frozen(workload="like-stable", kind="node")
    assert made(run)["Deployment", CANARY]["spec"]["template"]["spec"]["containers"][1]["image"].endswith(
        "v0.31.0"
    )
    assert rows(run, Verdict.CHANGED) == ["HorizontalPodAutoscaler chat spec.minReplicas"]
    assert Frozen.from_json(run.to_json()) == run


def test_several_deployments_behind_a_pool_are_copied_each_at_its_size() -> None:
    cluster = real_pool()
    other = copy.deepcopy(cluster.objects["Deployment", STABLE])
    spec = other["spec"]
    spec |= {"replicas": 1, "selector": {"matchLabels": {"app": "vllm-llama", "role": "decode"}}}
    spec["template"]["metadata"]["labels"] = {"app": "vllm-llama", "role": "decode"}
    put(cluster, "apps/v1", "Deployment", "decoders", spec)
    run = frozen(cluster)
    new = made(run)["Deployment", f"decoders-{CANARY}"]["spec"]
    assert new["selector"]["matchLabels"] == {"app": CANARY, "role": "decode"}
    assert new["progressDeadlineSeconds"] == 2400, "as long as the rollout waits"
    assert (new["replicas"], made(run)["Deployment", CANARY]["spec"]["replicas"]) == (1, 2)
    assert run.plan.as_pool_plan.workload.replicas == 3
    assert made(run)["HorizontalPodAutoscaler", CANARY]["spec"]["minReplicas"] == 2, "of its own Deployment"
    plan = parse_plan({"name": "chat"} | SIX_LINES | {"workload": {"like": "stable", "replicas": 4}})
    refused(
        PlanInvalid,
        "says nothing of chat's several workloads (chat, decoders)",
        cluster,
        plan,
        servers=servers(),
    )


def test_a_server_in_a_shell_script_keeps_its_arguments() -> None:
    cluster = real_pool()
    live = cluster.objects["Deployment", STABLE]
    server = live["spec"]["template"]["spec"]["containers"][1]
    server |= {
        "command": ["/bin/sh", "-c"],
        "args": ["exec vllm serve x --served-model-name llama-3.1-8b llama"],
    }
    cluster.put("apps/v1", "Deployment", live)
    assert frozen(cluster)
    plan = parse_plan(
        {"name": "chat"} | SIX_LINES | {"workload": {"like": "stable", "args": ["--max-num-seqs=8"]}}
    )
    refused(PlanInvalid, "starts its server in a shell script", cluster, plan, servers=servers())


@pytest.mark.parametrize("kind", ["base-model", "node"])
def test_templates_without_a_deployment_are_refused_in_a_sentence(include: Path, kind: str) -> None:
    path = include / "manifests" / "10-deployment.yaml"
    path.write_text(path.read_text().replace("kind: Deployment", "kind: DaemonSet"))
    with pytest.raises(ClusterRefused) as caught:
        of_templates(real_pool(), kind=kind)
    assert str(caught.value).startswith(
        "No manifest is of a Deployment, StatefulSet or LeaderWorkerSet whose pods InferencePool chat-v2 "
    )


def test_the_templates_drain_pods_before_they_end(include: Path) -> None:
    """They take requests until proxies have heard, then finish what they have, all within the grace."""
    pod = made(of_templates(real_pool()))["Deployment", CANARY]["spec"]["template"]["spec"]
    [server] = pod["containers"]
    [timeout] = vllm.server_options(server)["--shutdown-timeout"]
    pause = server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause >= 10
    assert pod["terminationGracePeriodSeconds"] > pause + int(timeout)


def test_what_is_no_deployment_is_refused_in_a_sentence() -> None:
    cluster = real_pool()
    del cluster.objects["Deployment", STABLE]
    plan = parse_plan({"name": "chat"} | SIX_LINES)
    refused(
        ClusterRefused,
        "No Deployment, StatefulSet or LeaderWorkerSet has the pods of InferencePool chat",
        cluster,
        plan,
        servers=servers(),
    )


def test_a_copy_of_a_paused_deployment_is_not_paused() -> None:
    """It would have no pods, and be waited for until its deadline."""
    cluster = real_pool()
    cluster.objects["Deployment", STABLE]["spec"]["paused"] = True
    assert "paused" not in made(frozen(cluster))["Deployment", CANARY]["spec"]


@pytest.mark.parametrize("updated", [{}, {"updatedReplicas": 1}])
def test_a_template_that_is_not_what_serves_is_refused(updated: dict[str, int]) -> None:
    """As of a Deployment paused in mid-update, or of pods that somebody has to delete first."""
    cluster = real_pool()
    cluster.objects["Deployment", STABLE]["status"] = {"replicas": 2, "availableReplicas": 2, **updated}
    plan = parse_plan({"name": "chat"} | SIX_LINES)
    words = f"Pods of an earlier template of Deployment {STABLE} still serve"
    refused(ClusterRefused, words, cluster, plan, servers=servers())


def test_policies_of_gke_are_made_where_stable_has_none() -> None:
    cluster = real_pool()
    for kind in ("GCPBackendPolicy", "HealthCheckPolicy"):
        for key in [key for key in cluster.objects if key[0] == kind]:
            del cluster.objects[key]
    policy = made(frozen(cluster))["GCPBackendPolicy", CANARY]
    assert (policy["apiVersion"], policy["spec"]["default"]["timeoutSec"]) == (GKE_API, 300)
