"""Bad input is refused with one clear sentence, and nothing is written."""

from __future__ import annotations

import copy
import time

import pytest
import yaml

from inference_rollouts.core.errors import (
    ClusterRefused,
    PatchRefused,
    PlanInvalid,
    RolloutError,
    RouteRefused,
)
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.routing.claim import CLAIM, CLAIMED_BY, Claim, Place
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.parameters import apply_parameters
from inference_rollouts.power import main
from inference_rollouts.preflight import freeze
from inference_rollouts.preflight.measuring import check_power
from tests.support.routes import ref, route, service

from . import ROOT
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus

RUN = "rollout_llm/test"


def plan(**changes):
    return yaml.safe_load((ROOT / "include/rollouts/llm.yaml").read_text()) | changes


def preflight(cluster, params=None, prometheus=None, **changes):
    decided = apply_parameters(parse_plan(plan(**changes)), params or {})
    return freeze(decided, RUN, cluster, prometheus or FakePrometheus(cluster))


def refused(error, said, cluster=None, **kwargs):
    cluster = cluster or FakeCluster()
    before = copy.deepcopy(cluster.objects)
    with pytest.raises(error) as caught:
        preflight(cluster, **kwargs)
    assert isinstance(caught.value, RolloutError)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cluster.writes
    assert not cluster.events
    assert cluster.objects == before


def test_a_good_plan_is_frozen_and_nothing_is_written():
    cluster = FakeCluster()
    frozen = preflight(cluster, {"weights": [10, 100], "bake": "90s", "image": "vllm/vllm-openai:v9"})
    assert not cluster.writes
    assert [(s.weight, s.bake) for s in frozen.plan.steps] == [(10, 90), (100, 90)]
    kinds = [manifest["kind"] for manifest in frozen.manifests]
    assert kinds == ["Deployment", "Deployment", "Service", "InferencePool", "InferenceObjective"]
    container = frozen.manifests[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "vllm/vllm-openai:v9"
    assert container["ports"][0]["containerPort"] == 8000
    assert "--max-num-seqs=64" in container["args"]
    assert Frozen.from_json(frozen.to_json()) == frozen


def test_a_frozen_plan_that_was_changed_is_refused():
    frozen = preflight(FakeCluster()).to_json()
    frozen["plan"]["stable"] = "other"
    with pytest.raises(PlanInvalid, match="changed after preflight"):
        Frozen.from_json(frozen)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"weights": [50, 25, 100]}, "must rise"),
        ({"weights": [5, 50]}, "end at 100"),
        ({"weights": [5, 5, 100]}, "must rise"),
        ({"weights": [0, 100]}, "weights.0"),
        ({"weights": [5, 120]}, "weights.1"),
        ({"weights": []}, "weights"),
        ({"weights": "all"}, "weights"),
        ({"weights": [1, 2, 3, 4, 100]}, "this plan's DAG has 4"),
        ({"bake": "-5s"}, "not a duration"),
        ({"bake": -5}, "not a duration"),
        ({"bake": "soon"}, "not a duration"),
        ({"canary": "llm-pool"}, "needs a name of its own"),
        ({"canary": "New Pool"}, "canary"),
        ({"image": "a b"}, "image"),
        ({"image": "x\nprivileged: true"}, "image"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_wrong_parameters(params, said):
    refused(PlanInvalid, said, params=params)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"stable": "no-such-pool"}, RouteRefused, "no rule"),
        ({"stable": "no-such-pool", "routes": "all"}, RouteRefused, "No HTTPRoute in namespace default"),
        ({"routes": [{"name": "no-such-route"}]}, RouteRefused, "no HTTPRoute no-such-route"),
        ({"routes": [{"name": "routes-to-llm", "rules": ["chat"]}]}, RouteRefused, "no rule called chat"),
        ({"routes": []}, PlanInvalid, "routes"),
        ({"gateway": "other"}, RouteRefused, "my-inference-gateway"),
        ({"metrics": "nothing"}, PlanInvalid, "no metric set 'nothing'"),
        ({"steps": []}, PlanInvalid, "steps"),
        ({"steps": [{"weight": 100, "bake": "-1m"}]}, PlanInvalid, "not a duration"),
        ({"schedule": {"cron": "0 2 * * *", "timezone": "Mars/Olympus"}}, PlanInvalid, "time zone"),
        ({"analysis": {"on_timeout": "guess"}}, PlanInvalid, "on_timeout"),
        ({"analysis": {"tolerances": {"nothing": 1}}}, PlanInvalid, "no metric 'nothing'"),
        ({"analysis": {"margin": 0.1}}, PlanInvalid, "must be more than the tolerance"),
        ({"surprise": 1}, PlanInvalid, "surprise"),
    ],
)
def test_wrong_plans(changes, error, said):
    refused(error, said, **changes)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([[ref("llm-pool"), service("web")]], "mixes InferencePools with other backends (web)"),
        ([[ref("llm-pool"), ref("llm-pool")]], "more than once"),
        ([[ref("llm-pool")], [ref("llm-pool"), service("web")]], "mixes InferencePools"),
        ([[ref("llm-pool", 99_991), ref("other", 1)]], "too large to be split"),
        ([[service("web")]], "no rule"),
    ],
)
def test_routes_that_cannot_be_moved(rules, said):
    refused(RouteRefused, said, FakeCluster(*rules))


def test_a_route_that_another_rollout_holds():
    cluster = FakeCluster()
    claim = Claim(
        "rollout_llm/other", "llm-pool", "x", (Place("/spec/rules/0", (ref("llm-pool"),)),), percent=25
    )
    notes = {CLAIMED_BY: claim.run, CLAIM: claim.to_json()}
    cluster.route["metadata"]["annotations"] = notes
    refused(RouteRefused, "held by rollout rollout_llm/other, which gives x 25 %", cluster)


def test_a_stable_pool_that_the_gateway_has_not_accepted():
    cluster = FakeCluster()
    cluster.objects["InferencePool", "llm-pool"]["status"]["parents"] = []
    refused(ClusterRefused, "The stable pool does not work as it is", cluster)


def test_a_stable_pool_without_ready_pods():
    cluster = FakeCluster()
    for kind, name in list(cluster.objects):
        if kind == "Pod":
            del cluster.objects[kind, name]
    refused(ClusterRefused, "no ready pod", cluster)


def test_a_stable_pool_whose_picker_is_down():
    cluster = FakeCluster()
    cluster.objects["InferencePool", "llm-pool"]["spec"]["endpointPickerRef"] = {"name": "gone"}
    refused(ClusterRefused, "The endpoint picker gone of llm-pool has no ready pod", cluster)


@pytest.mark.parametrize("kind", ["Deployment", "InferencePool"])
def test_a_canary_name_that_somebody_else_uses(kind):
    cluster = FakeCluster()
    cluster.put_pool("llm-pool-version-2")
    other = {"Deployment": "InferencePool", "InferencePool": "Deployment"}[kind]
    del cluster.objects[other, "llm-pool-version-2"]
    refused(ClusterRefused, f"{kind} llm-pool-version-2 exists", cluster)


def test_a_manifest_that_the_cluster_would_refuse(monkeypatch):
    cluster = FakeCluster()

    def refuse(manifest, *, dry_run):
        assert dry_run
        raise PatchRefused("The cluster refused a change of deployments/x: spec.replicas: too many")

    monkeypatch.setattr(cluster, "apply", refuse)
    refused(PatchRefused, "too many", cluster)


def test_no_prometheus():
    cluster = FakeCluster()
    refused(RolloutError, "does not answer", cluster, prometheus=FakePrometheus(cluster, down=True))


def test_a_prometheus_that_does_not_know_the_stable_pool(monkeypatch):
    cluster = FakeCluster()
    prometheus = FakePrometheus(cluster)
    monkeypatch.setattr(prometheus, "query", lambda *_: [])
    refused(ClusterRefused, "The judge would be blind", cluster, prometheus=prometheus)


def test_a_canary_that_serves_another_route():
    cluster = FakeCluster()
    other = route([ref("llm-pool-version-2")])
    other["metadata"]["name"] = "other-route"
    cluster.put("gateway.networking.k8s.io/v1", "HTTPRoute", other)
    refused(RouteRefused, "HTTPRoute other-route sends traffic to InferencePool llm-pool-version-2", cluster)


def power_of(cluster, rate, **changes):
    prometheus = FakePrometheus(cluster, rate=rate)
    frozen = preflight(cluster, prometheus=prometheus, **changes)
    prometheus.last = None
    return check_power(prometheus, frozen, time.time())


def test_preflight_says_what_each_step_can_see():
    table, missed = power_of(FakeCluster(), 4000.0)
    assert "| 1 | 5 % |" in table
    assert not any("HTTP 5xx" in sentence for sentence in missed)


def test_steps_too_short_for_the_traffic_are_warned_of():
    _, missed = power_of(FakeCluster(), 0.5)
    assert any("Step 1 (5 % for 5 min) may miss 3 times the odds" in sentence for sentence in missed)


def test_a_plan_may_refuse_or_ignore_blind_steps():
    with pytest.raises(PlanInvalid, match="too short"):
        power_of(FakeCluster(), 0.5, analysis={"when_underpowered": "refuse"})
    assert power_of(FakeCluster(), 0.5, analysis={"when_underpowered": "ignore"})[1] == []


def test_no_traffic_at_all_is_said():
    _, missed = power_of(FakeCluster(), 0.0)
    assert "Nothing was counted" in missed[0]


def test_the_power_of_a_plan_is_printed_without_starting_anything(capsys):
    path = ROOT / "include/rollouts/llm.yaml"
    assert main([str(path), "--rate", "1"]) == 1
    assert "| step | weight |" in capsys.readouterr().out
    assert main([str(path), "--rate", "2000", "--bad", "0.05"]) == 0
    assert main([str(path.parent / "nothing.yaml")]) == 2


def test_gke_s_policies_are_applied_where_the_cluster_serves_them(monkeypatch):
    cluster = FakeCluster()
    monkeypatch.setattr(cluster, "serves", lambda *_: True)
    manifests = {m["kind"]: m for m in preflight(cluster).manifests}
    assert {"HealthCheckPolicy", "GCPBackendPolicy", "PodMonitoring"} <= set(manifests)
    assert "annotations" not in manifests["HealthCheckPolicy"]["metadata"]
    assert manifests["GCPBackendPolicy"]["spec"]["default"]["timeoutSec"] == 300
    assert manifests["PodMonitoring"]["spec"]["targetLabels"]["fromPod"][0]["to"] == "inference_pool"


OLD = "inference.networking.x-k8s.io/v1alpha2"
NEW = "llm-d.ai/v1alpha2"


def bound(kind, api, name, **spec):
    """What an API server holds of an object that refers to the stable pool."""
    meta = {"name": name, "namespace": "default"}
    pool = {"group": api.partition("/")[0], "kind": "InferencePool", "name": "llm-pool"}
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": {"poolRef": pool, **spec}}


def cluster_with(*things):
    cluster = FakeCluster()
    for thing in things:
        cluster.served.add((thing["apiVersion"], thing["kind"]))
        cluster.put(thing["apiVersion"], thing["kind"], thing)
    return cluster


def old_cluster():
    """A cluster from before the APIs were called v1."""
    cluster = FakeCluster(
        [ref("llm-pool", group="inference.networking.x-k8s.io")],
    )
    cluster.served = {
        (api, kind) for api, kind in cluster.served if "inference" not in api and "llm-d" not in api
    }
    cluster.served |= {(OLD, "InferencePool"), (OLD, "InferenceModel"), (OLD, "InferenceObjective")}
    del cluster.objects["InferenceObjective", "llm-pool-standard"]
    spec = {"selector": {"inference-pool": "llm-pool"}, "targetPortNumber": 8000}
    cluster.put(OLD, "InferencePool", {"metadata": {"name": "llm-pool"}, "spec": spec})
    status = cluster.objects["InferencePool", "llm-pool"]["status"]
    status["parent"] = status.pop("parents")
    model = bound("InferenceModel", OLD, "llm-pool-model", modelName="llama-3.1-8b", criticality="Critical")
    cluster.put(OLD, "InferenceModel", model)
    return cluster


def test_old_api_groups_only():
    """The canary pool, its route's reference and its model are all in the old group."""
    cluster = old_cluster()
    manifests = {m["kind"]: m for m in preflight(cluster).manifests}
    pool, model = manifests["InferencePool"], manifests["InferenceModel"]
    assert (pool["apiVersion"], model["apiVersion"]) == (OLD, OLD)
    assert pool["spec"]["selector"] == {"inference-pool": "llm-pool-version-2"}
    assert pool["spec"]["targetPortNumber"] == 8000
    assert pool["spec"]["extensionRef"]["name"] == "llm-pool-version-2-epp"
    assert model["metadata"]["name"] == "llm-pool-version-2-model"
    group = {"group": "inference.networking.x-k8s.io", "kind": "InferencePool"}
    assert model["spec"] == {
        "modelName": "llama-3.1-8b",
        "criticality": "Critical",
        "poolRef": group | {"name": "llm-pool-version-2"},
    }


def test_the_status_of_an_old_pool_counts():
    cluster = old_cluster()
    for condition in cluster.objects["InferencePool", "llm-pool"]["status"]["parent"][0]["conditions"]:
        condition["status"] = "False"
    refused(ClusterRefused, "Accepted is False", cluster)


def test_both_api_groups_installed():
    """Each object is cloned in its own group: newer pickers read the one, older ones the other."""
    rules = [{"targets": [{"modelRewrite": "llama-3.1-8b"}]}]
    cluster = cluster_with(
        bound("InferenceObjective", NEW, "llm-pool-high", priority=20),
        bound("InferenceObjective", OLD, "llm-pool-old", priority=5),
        bound("InferenceModelRewrite", NEW, "alias", rules=rules),
        bound("InferenceModelRewrite", OLD, "old-alias", rules=rules),
        bound("InferenceModel", OLD, "model", modelName="llama-3.1-8b", criticality="Standard"),
    )
    cluster.served.add((OLD, "InferencePool"))
    found = {
        (m["apiVersion"], m["metadata"]["name"]): m
        for m in preflight(cluster).manifests
        if "poolRef" in m["spec"]
    }
    assert set(found) == {
        (NEW, "llm-pool-version-2-standard"),
        (NEW, "llm-pool-version-2-high"),
        (OLD, "llm-pool-version-2-old"),
        (NEW, "alias-llm-pool-version-2"),
        (OLD, "old-alias-llm-pool-version-2"),
        (OLD, "model-llm-pool-version-2"),
    }
    assert found[OLD, "llm-pool-version-2-old"]["spec"]["priority"] == 5
    assert {m["spec"]["poolRef"]["name"] for m in found.values()} == {"llm-pool-version-2"}
    [pool] = [m for m in preflight(cluster).manifests if m["kind"] == "InferencePool"]
    assert pool["apiVersion"] == "inference.networking.k8s.io/v1", "as the pool that serves today"


def test_a_route_that_names_the_pool_in_another_group():
    cluster = FakeCluster([ref("llm-pool", group="inference.networking.x-k8s.io")])
    refused(RouteRefused, "names InferencePool llm-pool of group inference.networking.x-k8s.io", cluster)
