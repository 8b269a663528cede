"""What the canary cannot have of what stable has, selectors that overlap, and what clients would notice."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients.discovery import Extensions
from inference_rollouts.core.errors import (
    ClusterRefused,
    ClusterUnavailable,
    Forbidden,
    PatchRefused,
)
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.takeover import Verdict
from inference_rollouts.core.plan.plan import parse_plan
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import refused
from tests.support.include import copy_of_include
from tests.support.real_pool import CANARY, SIX_LINES, STABLE, real_pool, servers
from tests.support.taking_over import frozen, of_templates, put, rows


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copy_of_include(tmp_path, monkeypatch)


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


def test_requests_that_come_by_a_route_of_another_kind_are_not_expected_at_the_canary() -> None:
    """Else stable's share would be called too large, and no step would ever pass."""
    cluster = real_pool()
    ref = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": STABLE}
    put(cluster, "gateway.networking.k8s.io/v1", "GRPCRoute", "grpc", {"rules": [{"backendRefs": [ref]}]})
    elsewhere = {"rules": [{"backendRefs": [ref | {"name": "other"}]}]}
    put(cluster, "gateway.networking.k8s.io/v1", "GRPCRoute", "not", elsewhere)
    assert frozen(cluster).shared == ("GRPCRoute grpc",)


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


def test_labels_that_a_webhook_gives_the_canary_s_template_count(include: Path) -> None:
    """What the server would make of a manifest is held against selectors, not what was asked for."""
    cluster = real_pool()
    real = cluster.apply

    def apply(manifest: Any, *, dry_run: bool = False, force: bool = False) -> Any:
        if manifest["kind"] == "Deployment" and manifest["metadata"]["name"] == CANARY:
            manifest = copy.deepcopy(manifest)
            manifest["spec"]["template"]["metadata"]["labels"]["app"] = "vllm-llama"
        return real(manifest, dry_run=dry_run, force=force)

    cluster.apply = apply  # type: ignore[method-assign]
    with pytest.raises(ClusterRefused, match="InferencePool chat selects its pods by app=vllm-llama"):
        of_templates(cluster)
    assert not cluster.writes


def test_a_workload_that_would_know_the_canary_s_pods_by_an_expression_is_refused() -> None:
    cluster = real_pool()
    live = cluster.objects["Deployment", STABLE]
    live["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    with pytest.raises(ClusterRefused, match="Deployment chat selects its pods by app exists, which"):
        frozen(cluster)


def test_a_canary_that_would_select_somebody_s_own_trial_is_refused() -> None:
    """It has another name than what is made, and the label that the canary's pods would have."""
    cluster = real_pool()
    trial = copy.deepcopy(cluster.objects["Deployment", STABLE]["spec"])
    trial["selector"] = {"matchLabels": {"app": CANARY}}
    trial["template"]["metadata"]["labels"] = {"app": CANARY}
    put(cluster, "apps/v1", "Deployment", "trial", trial)
    words = (
        f"InferencePool {CANARY} selects its pods by app={CANARY}, which those of Deployment trial have too"
    )
    refused(ClusterRefused, words, cluster, parse_plan({"name": "chat"} | SIX_LINES), servers=servers())


def test_a_canary_that_would_select_a_pod_of_no_workload_is_refused(include: Path) -> None:
    cluster = real_pool()
    pod = {"metadata": {"name": "job-1", "labels": {"inference-pool": CANARY}}, "spec": {}}
    cluster.put("v1", "Pod", pod | {"status": {"phase": "Running"}})
    path = include / "manifests" / "10-deployment.yaml"
    text = path.read_text()
    for label in ("    matchLabels:\n      ", "      labels:\n        "):
        assert label in text
        text = text.replace(label, label + "own: 'yes'" + label.rpartition(":")[2])
    path.write_text(text)
    with pytest.raises(ClusterRefused, match="which those of Pod job-1 have too"):
        of_templates(cluster)
    cluster.objects["Pod", "job-1"]["status"]["phase"] = "Succeeded"
    assert of_templates(cluster)


def test_what_an_earlier_try_has_left_of_the_canary_is_its_own() -> None:
    cluster = real_pool()
    for manifest in frozen(cluster).manifests:
        cluster.apply(manifest)
    assert cluster.pods_of(CANARY)
    assert frozen(cluster)


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
        (["--api-key=sesame"], "Clients.api-key"),
    ],
)
def test_what_clients_would_notice_is_refused_unless_the_plan_accepts_it(args: list[str], name: str) -> None:
    work = {"like": "stable", "args": args}
    plan = parse_plan({"name": "chat"} | SIX_LINES | {"workload": work})
    words = f"say `accept_differences: [{name}]` in the plan"
    refused(ClusterRefused, words, real_pool(), plan, servers=servers())
    assert frozen(workload=work, accept_differences=[name])


def test_keys_and_tokens_are_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    cluster = real_pool()
    live = cluster.objects["Deployment", STABLE]
    live["spec"]["template"]["spec"]["containers"][1]["args"] += ["--api-key=sesame", "--hf-token", "simsim"]
    cluster.put("apps/v1", "Deployment", live)
    with caplog.at_level("INFO"):
        run = of_templates(cluster, accept_differences=["Clients.api-key"])
    rows = [str(each) for each in run.findings]
    assert (
        "Deployment chat, containers[1].args.--api-key changed by the plan: … on stable, nothing on the"
        in (" ".join(rows))
    )
    assert not [each for each in (*rows, caplog.text) if "sesame" in each or "simsim" in each]


def test_longer_texts_harm_nobody() -> None:
    run = frozen(workload={"like": "stable", "args": ["--max-model-len", "64K"]})
    assert "Clients context-length" in rows(run, Verdict.DIFFERS)
