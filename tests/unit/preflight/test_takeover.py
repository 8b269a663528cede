"""Whatever stable has the canary has too, or it is said why not, and refused where that matters."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients.discovery import Extensions
from inference_rollouts.core.errors import (
    ClusterRefused,
    ClusterUnavailable,
    Forbidden,
    PatchRefused,
    PlanInvalid,
)
from inference_rollouts.core.objects.api_groups import GKE_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.succession import Succession, renamed
from inference_rollouts.core.objects.takeover import Verdict
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.reporting.changes import changes
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.engines import vllm
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import freeze, refused
from tests.support.include import copy_of_include
from tests.support.plans import llm
from tests.support.real_pool import CANARY, FILTERS, SIX_LINES, STABLE, real_pool, servers

Key = tuple[str, str]


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_of_include(tmp_path, monkeypatch)


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


# What is found, and copied whole.


def test_a_plan_of_six_lines_changes_the_image_alone() -> None:
    cluster = real_pool()
    run = frozen(cluster)
    new = made(run)
    names = {"Service": "chat-headless", "HealthCheckPolicy": "chat-health", "NetworkPolicy": "only-gateway"}
    back = Succession(
        CANARY, STABLE,
        {(kind, name): names.get(kind, STABLE) for kind, name in new if name == CANARY or kind in names}
        | {("Service", "chat-v2-epp"): "chat-epp"},
        {("app", CANARY): "vllm-llama", ("app", "chat-v2-epp"): "chat-epp", ("inference-pool", CANARY): ""},
        (), (), {},
    )  # fmt: skip
    differing = []
    whole = (
        "Deployment", "InferencePool", "GCPBackendPolicy", "PodMonitoring", "PodDisruptionBudget",
        "HorizontalPodAutoscaler", "VerticalPodAutoscaler",
    )  # fmt: skip
    named = [
        ("HealthCheckPolicy", "chat-health"),
        ("NetworkPolicy", "only-gateway"),
        ("DestinationRule", "chat-epp"),
    ]
    for kind, name in [*((kind, STABLE) for kind in whole), *named]:
        live = cluster.objects[kind, name]
        twin = new[kind, renamed(name, STABLE, CANARY)]
        restored = back.retargeted(twin["spec"], "spec")
        differing += changes({"metadata": {}, "spec": live["spec"]}, {"metadata": {}, "spec": restored})
    images = [line for line in differing if "image" in line]
    assert images == [
        "- spec.template.spec.containers[1].image: vllm/vllm-openai:v0.31.0",
        "+ spec.template.spec.containers[1].image: vllm/vllm-openai:v0.32.0",
    ]
    rest = [line for line in differing if line not in images]
    ours = ("minReplicas", "labels", "progressDeadlineSeconds")  # what a rollout itself needs
    assert [line for line in rest if not any(word in line for word in ours)] == []
    assert rows(run, Verdict.CHANGED) == [
        "Deployment chat containers[1].image",
        "HorizontalPodAutoscaler chat spec.minReplicas",
    ]
    assert not [each for each in run.findings if each.differs]
    assert not cluster.writes


def test_the_canary_s_pods_are_told_apart_and_known_to_its_own_objects() -> None:
    new = made(frozen())
    pods = new["Deployment", CANARY]["spec"]["template"]["metadata"]["labels"]
    assert pods == {"app": CANARY, "team": "chat-team", "inference-pool": CANARY}
    pool = new["InferencePool", CANARY]["spec"]
    assert pool["selector"]["matchLabels"] == {"app": CANARY}
    assert [port["number"] for port in pool["targetPorts"]] == list(range(8000, 8008))
    assert (pool["endpointPickerRef"]["name"], pool["endpointPickerRef"]["failureMode"]) == (
        "chat-v2-epp",
        "FailClose",
    )
    picker = new["Deployment", "chat-v2-epp"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert picker == ["--pool-name", CANARY, "--pool-namespace=default", "--config=/etc/epp.yaml"]
    assert "clusterIP" not in new["Service", "chat-v2-epp"]["spec"]
    assert new["Service", "chat-v2-headless"]["spec"] == {"selector": {"app": CANARY}, "clusterIP": "None"}
    spread = new["Deployment", CANARY]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread[0]["labelSelector"]["matchLabels"] == {"app": CANARY}


def test_policies_of_any_kind_that_the_cluster_serves_are_found_by_what_they_target() -> None:
    """One that targets others too is copied for the canary alone."""
    spec = made(frozen())["TeapotPolicy", f"short-and-stout-{CANARY}"]["spec"]
    assert [each["name"] for each in spec["targetRefs"]] == [CANARY]
    assert spec["spout"] == 1


@pytest.mark.parametrize("run", [frozen, lambda: of_templates(real_pool())])
def test_policies_are_stable_s_own_also_where_servers_come_of_templates(run: Any) -> None:
    new = made(run())
    policy = new["GCPBackendPolicy", CANARY]["spec"]
    assert policy["default"]["securityPolicy"] == "armor"
    assert policy["default"]["iap"]["enabled"] is True
    assert policy["default"]["timeoutSec"] == 3600
    assert policy["targetRef"]["name"] == CANARY
    check = new["HealthCheckPolicy", "chat-v2-health"]["spec"]["default"]["config"]
    assert check["httpHealthCheck"]["requestPath"] == "/ready"
    assert [name for kind, name in new if kind == "HealthCheckPolicy"] == ["chat-v2-health"]
    assert new["DestinationRule", "chat-v2-epp"]["spec"]["host"] == "chat-v2-epp.default.svc.cluster.local"


def test_selectors_choose_the_pods_of_templates_too() -> None:
    new = made(of_templates(real_pool()))
    selector = {"inference-pool": CANARY}
    assert new["PodDisruptionBudget", CANARY]["spec"]["selector"] == {"matchLabels": selector}
    assert new["Service", "chat-v2-headless"]["spec"]["selector"] == selector
    assert new["NetworkPolicy", f"only-gateway-{CANARY}"]["spec"]["podSelector"] == {"matchLabels": selector}


def test_what_differs_of_templates_is_told_in_a_table(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run = of_templates(real_pool())
    told = rows(run, Verdict.DIFFERS)
    assert "InferencePool chat spec.targetPorts[7].number" in told
    assert "Deployment chat serviceAccountName" in told
    assert "| Deployment chat | serviceAccountName | vllm |  | differs |" in caplog.text
    assert "HF_TOKEN" not in caplog.text, "what is in the environment may be secret"


def test_an_autoscaler_keeps_the_canary_s_size_until_the_end_and_goes_with_it() -> None:
    cluster = real_pool()
    plan = parse_plan({"name": "chat"} | SIX_LINES)
    run = freeze(cluster, plan, servers=servers())
    copy = made(run.frozen)["HorizontalPodAutoscaler", CANARY]
    assert (copy["spec"]["minReplicas"], copy["spec"]["scaleTargetRef"]["name"]) == (2, CANARY)
    for manifest in run.frozen.manifests:
        cluster.apply(manifest)
    floors = {floor.name: (floor.found, floor.raised) for floor in run.kind.floors(run)}
    assert floors == {STABLE: (1, 2), CANARY: (1, 2)}


def test_what_a_controller_made_is_its_controller_s(caplog: pytest.LogCaptureFixture) -> None:
    cluster = real_pool()
    owner = {"kind": "HelmChart", "name": "chat", "controller": True}
    policy = cluster.objects["PodDisruptionBudget", STABLE]
    policy["metadata"]["ownerReferences"] = [owner]
    run = frozen(cluster)
    assert ("PodDisruptionBudget", CANARY) not in made(run)
    assert rows(run, Verdict.CANNOT) == ["PodDisruptionBudget chat"]
    assert "made by HelmChart chat" in caplog.text


def test_what_tools_know_their_objects_by_is_not_copied() -> None:
    labels = made(frozen())["Deployment", CANARY]["metadata"]["labels"]
    assert "app.kubernetes.io/instance" not in labels
    assert labels["team"] == "chat-team"


def test_filters_and_port_of_the_backend_are_named() -> None:
    [row] = [each for each in frozen().findings if each.object.startswith("HTTPRoute")]
    assert (row.canary, row.verdict) == ("port, filters", Verdict.TAKEN_OVER)
    assert FILTERS


# What cannot be taken over.


def test_what_may_not_be_listed_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = real_pool()
    select = cluster.select

    def forbidden(api: str, kind: str, labels: Any = None) -> Any:
        if kind in ("TeapotPolicy", "NetworkPolicy"):
            raise Forbidden("GET", f"/{kind}", 403, "no")
        return select(api, kind, labels)

    monkeypatch.setattr(cluster, "select", forbidden)
    extensions = cluster.extensions()
    monkeypatch.setattr(cluster, "extensions", lambda: Extensions(extensions.kinds, ("broken.example.com",)))
    frozen(cluster)
    words = "all of broken.example.com, NetworkPolicy (networking.k8s.io), TeapotPolicy (brew.example.com)"
    assert f"kinds that may not be listed cannot be taken over: {words}" in caplog.text


def test_what_cannot_be_listed_for_a_moment_is_not_taken_for_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = real_pool()
    select = cluster.select

    def unavailable(api: str, kind: str, labels: Any = None) -> Any:
        if kind == "NetworkPolicy":
            raise ClusterUnavailable("GET", f"/{kind}", 503, "not now")
        return select(api, kind, labels)

    monkeypatch.setattr(cluster, "select", unavailable)
    with pytest.raises(ClusterUnavailable):
        frozen(cluster)


def test_a_copy_that_the_cluster_refuses_is_said_and_refused_where_it_is_for_security(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(kind: str) -> FakeCluster:
        cluster = real_pool()
        apply = cluster.apply

        def refuse(manifest: K8sObject, *, dry_run: bool = False) -> Any:
            if manifest["kind"] == kind:
                raise PatchRefused("admission webhook: only one")
            return apply(manifest, dry_run=dry_run)

        monkeypatch.setattr(cluster, "apply", refuse)
        return cluster

    run = frozen(refusing("TeapotPolicy"))
    assert rows(run, Verdict.CANNOT) == ["TeapotPolicy short-and-stout"]
    assert "admission webhook: only one" in caplog.text
    plan = parse_plan({"name": "chat"} | SIX_LINES)
    words = "say `accept_differences: [NetworkPolicy]` in the plan"
    refused(ClusterRefused, words, refusing("NetworkPolicy"), plan, servers=servers())
    assert frozen(refusing("NetworkPolicy"), accept_differences=["NetworkPolicy"])


def test_somebody_else_s_object_of_a_copy_s_name_is_left_alone() -> None:
    cluster = real_pool()
    put(cluster, "policy/v1", "PodDisruptionBudget", CANARY, {"selector": {"matchLabels": {"app": "x"}}})
    assert rows(frozen(cluster), Verdict.CANNOT) == ["PodDisruptionBudget chat"]


def test_what_names_stable_in_a_field_that_nobody_knows_is_named() -> None:
    cluster = real_pool()
    ref = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": STABLE}
    put(cluster, "gateway.networking.k8s.io/v1", "GRPCRoute", "grpc", {"rules": [{"backendRefs": [ref]}]})
    assert rows(frozen(cluster), Verdict.CANNOT) == ["GRPCRoute grpc"]


def test_a_service_that_is_a_way_in_of_its_own_stays_with_stable() -> None:
    cluster = real_pool()
    spec = {"type": "LoadBalancer", "selector": {"app": "vllm-llama"}}
    put(cluster, "v1", "Service", "chat-public", spec)
    run = frozen(cluster)
    assert rows(run, Verdict.CANNOT) == ["Service chat-public"]


def test_a_template_that_is_applied_always_wins_and_its_differences_in_security_are_refused(
    include: Path,
) -> None:
    path = include / "manifests" / "40-gke.yaml"
    path.write_text(path.read_text().replace("unless-taken-over", "where-served"))
    names = (
        "GCPBackendPolicy.default.securityPolicy, GCPBackendPolicy.default.iap.enabled, "
        "GCPBackendPolicy.default.iap.oauth2ClientSecret.name"
    )
    with pytest.raises(ClusterRefused) as caught:
        of_templates(real_pool())
    assert names in str(caught.value)
    accepted = ["GCPBackendPolicy.default.iap", "GCPBackendPolicy.default.securityPolicy"]
    run = of_templates(real_pool(), accept_differences=accepted)
    assert "GCPBackendPolicy chat spec.default.timeoutSec" in rows(run, Verdict.DIFFERS)
    assert "HealthCheckPolicy chat-health spec.default.config.httpHealthCheck.requestPath" in rows(
        run, Verdict.DIFFERS
    )


# Selectors that overlap.


def test_a_pool_that_would_select_the_canary_s_pods_too_is_refused(include: Path) -> None:
    path = include / "manifests" / "10-deployment.yaml"
    path.write_text(
        path.read_text().replace(
            "      labels:\n        inference", "      labels:\n        app: vllm-llama\n        inference"
        )
    )
    with pytest.raises(ClusterRefused) as caught:
        of_templates(real_pool())
    assert str(caught.value).startswith(
        "InferencePool chat selects its pods by app=vllm-llama, which the pods of InferencePool chat-v2 have"
    )


def test_a_canary_that_would_select_stable_s_pods_is_refused(include: Path) -> None:
    cluster = real_pool()
    live = cluster.objects["Deployment", STABLE]
    live["spec"]["template"]["metadata"]["labels"]["inference-pool"] = CANARY
    cluster.put("apps/v1", "Deployment", live)
    with pytest.raises(ClusterRefused) as caught:
        of_templates(cluster)
    assert "chat-v2 selects its pods by inference-pool=chat-v2, which the pods of InferencePool chat" in str(
        caught.value
    )


def test_a_third_pool_that_would_select_the_canary_s_pods_is_refused() -> None:
    cluster = real_pool()
    spec = {"selector": {"matchLabels": {"team": "chat-team"}}, "targetPorts": [{"number": 8000}]}
    put(cluster, "inference.networking.k8s.io/v1", "InferencePool", "all", spec)
    plan = parse_plan({"name": "chat"} | SIX_LINES)
    refused(
        ClusterRefused,
        "InferencePool all selects its pods by team=chat-team",
        cluster,
        plan,
        servers=servers(),
    )


# What a plan changes of stable's own.


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
        "says nothing of chat's several Deployments (chat, decoders)",
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
    path.write_text(path.read_text().replace("kind: Deployment", "kind: StatefulSet"))
    with pytest.raises(ClusterRefused) as caught:
        of_templates(real_pool(), kind=kind)
    assert str(caught.value).startswith(
        "No manifest is of a Deployment whose pods InferencePool chat-v2 selects"
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
        ClusterRefused, "No Deployment has the pods of InferencePool chat", cluster, plan, servers=servers()
    )


def test_policies_of_gke_are_made_where_stable_has_none() -> None:
    cluster = real_pool()
    for kind in ("GCPBackendPolicy", "HealthCheckPolicy"):
        for key in [key for key in cluster.objects if key[0] == kind]:
            del cluster.objects[key]
    policy = made(frozen(cluster))["GCPBackendPolicy", CANARY]
    assert (policy["apiVersion"], policy["spec"]["default"]["timeoutSec"]) == (GKE_API, 300)


# What clients notice.


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["--max-model-len=16k"], "Clients.context-length"),
        (["--tokenizer=other/tokenizer"], "Clients.tokenizer"),
        (["--chat-template=/templates/other.jinja"], "Clients.chat-template"),
        (["--enable-auto-tool-choice", "--tool-call-parser=llama3_json"], "Clients.tool-parser"),
        (["--reasoning-parser", "qwen3"], "Clients.reasoning-parser"),
        (["--quantization=fp8"], "Clients.quantization"),
    ],
)
def test_what_clients_would_notice_is_refused_unless_the_plan_accepts_it(args: list[str], name: str) -> None:
    work = {"like": "stable", "args": args}
    plan = parse_plan({"name": "chat"} | SIX_LINES | {"workload": work})
    words = f"say `accept_differences: [{name}]` in the plan"
    refused(ClusterRefused, words, real_pool(), plan, servers=servers())
    assert frozen(workload=work, accept_differences=[name])


def test_longer_texts_harm_nobody() -> None:
    run = frozen(workload={"like": "stable", "args": ["--max-model-len", "64K"]})
    assert "Clients context-length" in rows(run, Verdict.DIFFERS)


def test_a_monitor_of_both_pools_makes_none_of_templates_scrape_the_canary_twice() -> None:
    cluster = real_pool()
    cluster.objects["PodMonitoring", STABLE]["spec"]["selector"] = {"matchLabels": {"team": "chat-team"}}
    assert [kind for kind, _ in made(frozen(cluster)) if kind == "PodMonitoring"] == []
    del cluster.objects["PodMonitoring", STABLE]
    assert ("PodMonitoring", CANARY) in made(frozen(cluster))
