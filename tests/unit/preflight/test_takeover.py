"""Whatever stable has the canary has too: found by what names it, and copied whole."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from inference_rollouts.core.objects.succession import Succession, renamed
from inference_rollouts.core.objects.takeover import Verdict
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.reporting.changes import changes
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import freeze
from tests.support.real_pool import CANARY, FILTERS, SIX_LINES, STABLE, real_pool, servers
from tests.support.taking_over import frozen, made, of_templates, put, rows


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


def test_an_autoscaler_that_leaves_nothing_where_nobody_asks_leaves_the_canary() -> None:
    """It has no traffic at first, and stable none at last."""
    cluster = real_pool()
    del cluster.objects["HorizontalPodAutoscaler", STABLE]
    spec = {"scaleTargetRef": {"name": STABLE}, "idleReplicaCount": 0, "minReplicaCount": 1}
    put(cluster, "keda.sh/v1alpha1", "ScaledObject", STABLE, spec)
    run = freeze(cluster, parse_plan({"name": "chat"} | SIX_LINES), servers=servers())
    new = made(run.frozen)["ScaledObject", CANARY]
    assert new["spec"] == {"scaleTargetRef": {"name": CANARY}, "minReplicaCount": 2}
    assert set(rows(run.frozen, Verdict.CHANGED)) >= {
        "ScaledObject chat spec.idleReplicaCount",
        "ScaledObject chat spec.minReplicaCount",
    }
    for manifest in run.frozen.manifests:
        cluster.apply(manifest)
    floors = [(each.name, each.path, each.found, each.held) for each in run.kind.floors(run)]
    assert floors == [
        (name, path, found, held)
        for name in (STABLE, CANARY)
        for path, found, held in (("/spec/idleReplicaCount", 0, None), ("/spec/minReplicaCount", 1, 2))
    ]


def keda(**more: Any) -> FakeCluster:
    """Stable is scaled by KEDA, by what its servers say."""
    cluster = real_pool()
    del cluster.objects["HorizontalPodAutoscaler", STABLE]
    spec = {"scaleTargetRef": {"name": STABLE}, "minReplicaCount": 2, **more}
    put(cluster, "keda.sh/v1alpha1", "ScaledObject", STABLE, spec)
    return cluster


@pytest.mark.parametrize(
    ("query", "now"),
    [
        ('sum(vllm:num_requests_waiting{inference_pool="chat"})', '{inference_pool="chat-v2"}'),
        ("sum(x{namespace='chat', pool=~'chat'})", "{namespace='chat', pool=~'chat-v2'}"),
        ('avg(x{pod=~"chat-.*", model_name="chat"})', '{pod=~"chat-v2-.*", model_name="chat"}'),
        ('x{deployment = "chat"} > 0', 'deployment = "chat-v2"'),
        ('x{inference_pool="chatty"}', 'inference_pool="chatty"'),
    ],
)
def test_a_copied_autoscaler_goes_by_what_the_canary_has_to_do(query: str, now: str) -> None:
    trigger = {"type": "prometheus", "metadata": {"query": query}, "authenticationRef": {"name": STABLE}}
    copy = made(frozen(keda(triggers=[trigger])))["ScaledObject", CANARY]["spec"]["triggers"][0]
    assert now in copy["metadata"]["query"]
    assert copy["authenticationRef"] == {"name": STABLE}, "it is not copied"


def test_a_copied_autoscaler_makes_one_of_its_own() -> None:
    """Two that want the same one would take it from each other, and stable would be scaled no more."""
    advanced = {"horizontalPodAutoscalerConfig": {"name": "chat-hpa", "behavior": {}}}
    copy = made(frozen(keda(advanced=advanced)))["ScaledObject", CANARY]["spec"]
    assert copy["advanced"] == {"horizontalPodAutoscalerConfig": {"name": "chat-v2-hpa", "behavior": {}}}


def test_an_external_metric_of_stable_becomes_one_of_the_canary() -> None:
    cluster = real_pool()
    labels = {"metric.labels.inference_pool": STABLE, "resource.labels.namespace_name": STABLE}
    metric = {"name": "prometheus.googleapis.com|vllm:x|gauge", "selector": {"matchLabels": labels}}
    scaler = cluster.objects["HorizontalPodAutoscaler", STABLE]
    scaler["spec"]["metrics"] = [{"type": "External", "external": {"metric": metric}}]
    [copied] = made(frozen(cluster))["HorizontalPodAutoscaler", CANARY]["spec"]["metrics"]
    labels["metric.labels.inference_pool"] = CANARY
    assert copied["external"]["metric"]["selector"]["matchLabels"] == labels


def test_where_a_copied_autoscaler_still_names_stable_it_is_said() -> None:
    triggers = [{"type": "kafka", "metadata": {"consumerGroup": STABLE, "topic": "chat-topic"}}]
    told = rows(frozen(keda(triggers=triggers)), Verdict.DIFFERS)
    assert "ScaledObject chat spec.triggers[0].metadata.consumerGroup" in told
    assert not any("topic" in each or "scaleTargetRef" in each for each in told)


@pytest.mark.parametrize(("labels", "verdict"), [({"tier": "gpu"}, Verdict.TAKEN_OVER), ({}, Verdict.CANNOT)])
def test_a_policy_that_chooses_pools_by_their_labels_chooses_the_canary_s_or_it_is_said(
    labels: dict[str, str], verdict: Verdict
) -> None:
    cluster = real_pool()
    pool = cluster.objects["InferencePool", STABLE]
    of_helm = {"app.kubernetes.io/instance": STABLE}  # what tools know their objects by is not copied
    pool["metadata"]["labels"] = {"tier": "gpu", **of_helm}
    chosen = labels or of_helm
    selectors = [{"kind": "InferencePool", "matchLabels": chosen}, {"kind": "Gateway", "matchLabels": {}}]
    put(cluster, "policy.example.com/v1", "RetryPolicy", "retry", {"targetSelectors": selectors})
    put(cluster, "policy.example.com/v1", "RetryPolicy", "none", {"targetSelectors": selectors[1:]})
    assert "RetryPolicy retry" in rows(frozen(cluster), verdict)
    assert not any("none" in each for each in rows(frozen(cluster), verdict))


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


def test_a_monitor_of_both_pools_makes_none_of_templates_scrape_the_canary_twice() -> None:
    cluster = real_pool()
    cluster.objects["PodMonitoring", STABLE]["spec"]["selector"] = {"matchLabels": {"team": "chat-team"}}
    assert [kind for kind, _ in made(frozen(cluster)) if kind == "PodMonitoring"] == []
    del cluster.objects["PodMonitoring", STABLE]
    assert ("PodMonitoring", CANARY) in made(frozen(cluster))
