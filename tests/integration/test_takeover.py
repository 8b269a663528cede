"""A pool as people run it, on an API server that validates: found whole, copied whole, and accepted."""

from __future__ import annotations

import copy

from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.objects.k8s import part, parts
from inference_rollouts.core.plan.plan import parse_plan
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import freeze
from tests.support.lab.apiserver_process import MERGE_PATCH, ApiServer
from tests.support.plans import llm
from tests.support.real_pool import CANARY, SIX_LINES, STABLE, TEAPOT_API, real_pool, servers

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
# Fields of the server's own, and of a Deployment's controller that does not run here.
NOT_SENT = ("uid", "resourceVersion", "generation", "managedFields")


def define_teapots(server: ApiServer) -> None:
    """A kind of policy that nobody has heard of."""
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    group, version = TEAPOT_API.split("/")
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": open_schema}}}
    server.ok("POST", DEFINITIONS, {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"teapotpolicies.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "TeapotPolicy", "plural": "teapotpolicies"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    })  # fmt: skip


def bring(pool: FakeCluster, real: KubernetesCluster, server: ApiServer) -> set[str]:
    """Everything of a cluster in memory that the API server takes; the kinds that it serves not."""
    missing, refused = set(), []
    for obj in pool.objects.values():
        api, kind = obj["apiVersion"], obj["kind"]
        if kind in ("Gateway", "GatewayClass"):
            continue
        if not real.serves(api, kind):
            missing.add(kind)
            continue
        sent = copy.deepcopy(obj)
        sent["metadata"] = {k: v for k, v in obj["metadata"].items() if k not in NOT_SENT}
        status = sent.pop("status", None)
        for container in sent["spec"]["containers"] if kind == "Pod" else ():
            container.pop("volumeMounts", None)  # pods in memory have no volumes
        resource = real._resource(api, kind)
        root = f"/api/{api}" if "/" not in api else f"/apis/{api}"
        if resource["namespaced"]:
            sent["metadata"]["namespace"] = real.namespace
            root = f"{root}/namespaces/{real.namespace}"
        path = f"{root}/{resource['name']}"
        answer = server.call("POST", f"{path}?fieldManager=somebody", sent)
        if answer.code not in (201, 409):
            refused.append((kind, answer.body["message"]))
        for parent in parts(status, "parents"):
            parent |= {"controllerName": "example.com/gateway"}  # type: ignore[operator]
            for each in parent["conditions"]:
                each |= {"lastTransitionTime": "2026-01-01T00:00:00Z", "reason": each["type"], "message": ""}
        if status:
            server.ok("PATCH", f"{path}/{obj['metadata']['name']}/status", {"status": status}, MERGE_PATCH)
    assert not refused
    return missing


def test_the_plan_of_six_lines_is_accepted_with_all_that_is_attached(
    real: KubernetesCluster, server: ApiServer
) -> None:
    define_teapots(server)
    pool = real_pool()
    missing = bring(pool, real, server)
    plan = parse_plan({"name": "chat", "namespace": real.namespace} | SIX_LINES)
    run = freeze(real, plan, servers=servers(), prometheus=FakePrometheus(pool))  # type: ignore[arg-type]
    found = {(each["kind"], each["metadata"]["name"]): each for each in run.frozen.manifests}
    for kind, name in (("TeapotPolicy", f"short-and-stout-{CANARY}"), ("PodDisruptionBudget", CANARY)):
        assert (kind, name) in found
    assert not [each for each in run.frozen.findings if each.differs], missing
    for manifest in run.frozen.manifests:
        live = real.apply(manifest)
        assert live["metadata"]["labels"]["inference-rollouts.dev/pool"] == CANARY
    assert real.get("apps/v1", "Deployment", STABLE)["spec"]["replicas"] == 2
    deployments = [real.get("apps/v1", "Deployment", name) for name in (STABLE, CANARY)]
    pods = [part(each, "spec", "template", "spec") for each in deployments]
    images = [container["image"] for pod in pods for container in pod["containers"]]
    assert images == ["fluent-bit:3", "vllm/vllm-openai:v0.31.0", "fluent-bit:3", "vllm/vllm-openai:v0.32.0"]


def test_what_the_server_sets_where_a_template_is_silent_is_no_difference(
    real: KubernetesCluster, server: ApiServer
) -> None:
    """Stable is read with the server's defaults; a template has none until it is applied."""
    pool = real_pool()
    bring(pool, real, server)
    work = llm()["workload"] | {"args": ["--served-model-name", "llama-3.1-8b", "llama"]}
    changes = {"stable": STABLE, "canary": CANARY, "workload": work, "metrics": ["vllm"]}
    plan = parse_plan(llm(name="chat", namespace=real.namespace, **changes))
    run = freeze(real, plan, servers=servers(), prometheus=FakePrometheus(pool))  # type: ignore[arg-type]
    differing = {each.field for each in run.frozen.findings if each.differs}
    defaults = "restartPolicy", "dnsPolicy", "schedulerName", "containers[0].terminationMessagePath"
    assert differing & {*defaults, "spec.endpointPickerRef.group"} == set()
    assert "serviceAccountName" in differing
