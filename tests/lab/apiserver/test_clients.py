"""Real kubectl and the Python clients against the server."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from pathlib import Path

import pytest
import yaml

from tests.support.lab.apiserver_process import GATEWAY, JSON_PATCH, MERGE_PATCH, ApiServer, deployment, route

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "route.yaml"
    path.write_text(yaml.safe_dump(route("by-kubectl", 90, 10)))
    return path


def test_kubectl_applies_diffs_and_patches(server: ApiServer, manifest: Path) -> None:
    assert "serverside-applied" in server.kubectl("apply", "--server-side", "-f", str(manifest))
    assert server.kubectl("diff", "--server-side", "-f", str(manifest)) == ""
    patch = '[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":50}]'
    server.kubectl("patch", "httproute", "by-kubectl", "--type=json", "-p", patch)
    weights = server.kubectl(
        "get", "httproute", "by-kubectl", "-o", "jsonpath={.spec.rules[0].backendRefs[*].weight}"
    )
    assert weights == "50 10"
    refused = server.kubectl("apply", "--server-side", "-f", str(manifest), check=False)
    assert "conflict" in refused
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(manifest))
    assert "deleted" in server.kubectl("delete", "-f", str(manifest))


def test_kubectl_applies_on_its_own_side(server: ApiServer, manifest: Path) -> None:
    assert "created" in server.kubectl("apply", "-f", str(manifest))
    manifest.write_text(manifest.read_text().replace("weight: 90", "weight: 80"))
    assert "configured" in server.kubectl("apply", "-f", str(manifest))
    built_in = manifest.with_name("d.yaml")
    built_in.write_text(yaml.safe_dump(deployment("by-kubectl")))
    assert "created" in server.kubectl("apply", "-f", str(built_in))
    assert "unchanged" in server.kubectl("apply", "-f", str(built_in))
    built_in.write_text(built_in.read_text().replace("vllm:1", "vllm:2"))
    assert "configured" in server.kubectl("apply", "-f", str(built_in))
    invalid = manifest.read_text().replace("weight: 10", "weight: -1")
    told = server.kubectl("apply", "-f", "-", stdin=invalid, check=False)
    assert "spec.rules[0].backendRefs[1].weight" in told


def test_kubectl_reads(server: ApiServer) -> None:
    server.kubectl("create", "deployment", "shown", "--image=vllm:1", "--replicas=2")
    wide = server.kubectl("get", "deployments", "shown", "-o", "wide")
    assert wide.splitlines()[0].split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert wide.splitlines()[1].split()[:4] == ["shown", "0/2", "0", "0"]
    assert "Replicas:" in server.kubectl("describe", "deployment", "shown")
    assert "gateway.networking.k8s.io/v1" in server.kubectl("api-versions")
    assert "infpool" in server.kubectl("api-resources")
    explained = server.kubectl("explain", "httproute.spec.rules.backendRefs.weight")
    assert "FIELD: weight <integer>" in explained
    assert "rollingUpdate" in server.kubectl("explain", "deployment.spec.strategy")
    assert "No resources" in server.kubectl("get", "pods")


def test_kubectl_waits_and_follows_a_rollout(server: ApiServer) -> None:
    server.ok("POST", DEPLOYMENTS, deployment("waited"))
    done = {
        "observedGeneration": 1,
        "replicas": 1,
        "updatedReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "conditions": [{"type": "Available", "status": "True"}],
    }
    timer = threading.Timer(
        0.5, lambda: server.ok("PATCH", f"{DEPLOYMENTS}/waited/status", {"status": done}, MERGE_PATCH)
    )
    timer.start()
    told = server.kubectl("rollout", "status", "deployment/waited", "--timeout=40s")
    timer.join()
    assert "successfully rolled out" in told
    server.kubectl("wait", "--for=condition=Available", "deployment/waited", "--timeout=40s")
    late = threading.Timer(0.5, lambda: server.ok("DELETE", f"{DEPLOYMENTS}/waited"))
    late.start()
    server.kubectl("wait", "--for=delete", "deployment/waited", "--timeout=40s")
    late.join()


def test_kubectl_scales_labels_edits_and_restarts(server: ApiServer) -> None:
    server.ok("POST", DEPLOYMENTS, deployment("worked"))
    for command in (
        ["scale", "deployment/worked", "--replicas=3"],
        ["set", "image", "deployment/worked", "vllm=vllm:9"],
        ["label", "deployment", "worked", "a=b"],
        ["annotate", "deployment", "worked", "c=d"],
        ["rollout", "restart", "deployment/worked"],
        ["rollout", "pause", "deployment/worked"],
    ):
        server.kubectl(*command)
    seen = server.ok("GET", f"{DEPLOYMENTS}/worked")
    assert seen["spec"]["replicas"] == 3
    assert seen["spec"]["paused"] is True
    assert seen["spec"]["template"]["spec"]["containers"][0]["image"] == "vllm:9"
    assert "kubectl.kubernetes.io/restartedAt" in seen["spec"]["template"]["metadata"]["annotations"]


def test_kubectl_creates_and_asks_in_its_binary_form(server: ApiServer) -> None:
    for command in (
        ["configmap", "c", "--from-literal=a=b"],
        ["secret", "generic", "s", "--from-literal=a=b"],
        ["serviceaccount", "sa"],
        ["role", "r", "--verb=get,list", "--resource=pods"],
        ["rolebinding", "rb", "--role=r", "--serviceaccount=default:sa"],
        ["clusterrole", "cr", "--verb=get", "--resource=nodes"],
        ["service", "clusterip", "svc", "--tcp=80:8000"],
        ["poddisruptionbudget", "pdb", "--selector=app=a", "--min-available=50%"],
        ["namespace", "made"],
    ):
        assert "created" in server.kubectl("create", *command)
    service = server.ok("GET", "/api/v1/namespaces/default/services/svc")
    assert service["spec"]["ports"][0]["targetPort"] == 8000
    budget = server.ok("GET", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/pdb")
    assert budget["spec"]["minAvailable"] == "50%"
    assert server.ok("GET", "/api/v1/namespaces/default/secrets/s")["data"] == {"a": "Yg=="}
    account = "--as=system:serviceaccount:default:sa"
    assert server.kubectl("auth", "can-i", "list", "pods", account).strip() == "yes"
    assert server.kubectl("auth", "can-i", "delete", "pods", account, check=False).strip() == "no"
    assert "pods" in server.kubectl("auth", "can-i", "--list", account)
    token = server.kubectl("create", "token", "sa").strip()
    whoami = server.kubectl("auth", "whoami", f"--token={token}")
    assert "system:serviceaccount:default:sa" in whoami


def test_kubectl_shows_events(server: ApiServer) -> None:
    about = server.ok("POST", f"{GATEWAY}/httproutes", route("story"))["metadata"]
    event = {
        "metadata": {"name": "shift.1"},
        "involvedObject": {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "name": "story",
            "namespace": "default",
            "uid": about["uid"],
        },
        "reason": "WeightShifted",
        "message": "llm 90, llm-new 10",
        "type": "Normal",
    }
    server.ok("POST", "/api/v1/namespaces/default/events", event)
    assert "WeightShifted" in server.kubectl("events", "--for", "httproute/story")
    assert "llm 90, llm-new 10" in server.kubectl("get", "events")
    assert "WeightShifted" in server.kubectl("describe", "httproute", "story")


def test_kubectl_watches(server: ApiServer) -> None:
    timer = threading.Timer(1.0, lambda: server.ok("POST", f"{GATEWAY}/httproutes", route("watched")))
    timer.start()
    told = server.kubectl(
        "get", "httproutes", "-w", "--request-timeout=20s", "--output-watch-events", check=False
    )
    timer.join()
    assert [line.split()[:2] for line in told.splitlines() if "watched" in line] == [["ADDED", "watched"]]


def test_a_pod_is_reached_through_its_proxy(server: ApiServer, tmp_path: Path) -> None:
    class Echo(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(201)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(f"{self.path} {body.decode()} {self.headers.get('Authorization')}".encode())

        def log_message(self, *_: object) -> None:
            return

    backend = http.server.HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=backend.serve_forever, daemon=True)
    thread.start()
    try:
        pods = "/api/v1/namespaces/default/pods"
        container = {"name": "a", "image": "a:1"}
        server.ok("POST", pods, {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
        proxy = f"{pods}/p:{backend.server_port}/proxy/v1/completions?x=1"
        assert server.call("POST", proxy, "hello", "text/plain").code == 503
        server.ok("PATCH", f"{pods}/p/status", {"status": {"podIP": "127.0.0.1"}}, MERGE_PATCH)
        reply = server.call("POST", proxy, "hello", "text/plain")
        assert (reply.code, reply.body) == (201, "/v1/completions?x=1 hello None")
    finally:
        backend.shutdown()
        thread.join()
        backend.server_close()
    assert server.call("POST", proxy, "hello", "text/plain").code == 503


def test_the_python_clients_work(server: ApiServer) -> None:
    import kubernetes
    import kubernetes_asyncio

    config = str(server.directory / "kubeconfig")
    kubernetes.config.load_kube_config(config)
    custom = kubernetes.client.CustomObjectsApi()
    place = ("gateway.networking.k8s.io", "v1", "default", "httproutes")
    custom.create_namespaced_custom_object(*place, route("by-python", 90, 10))
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 1}]
    custom.patch_namespaced_custom_object(*place, "by-python", patch, _content_type=JSON_PATCH)
    seen = custom.get_namespaced_custom_object(*place, "by-python")
    assert seen["metadata"]["generation"] == 2
    apps = kubernetes.client.AppsV1Api()
    apps.create_namespaced_deployment("default", deployment("by-python"))
    assert apps.read_namespaced_deployment("by-python", "default").spec.replicas == 1
    with pytest.raises(kubernetes.client.ApiException) as failure:
        apps.read_namespaced_deployment("none", "default")
    assert json.loads(failure.value.body)["reason"] == "NotFound"
    events = kubernetes.watch.Watch().stream(
        apps.list_namespaced_deployment,
        "default",
        timeout_seconds=1,
        field_selector="metadata.name=by-python",
    )
    assert [event["type"] for event in events] == ["ADDED"]

    async def read() -> int:
        await kubernetes_asyncio.config.load_kube_config(config)
        async with kubernetes_asyncio.client.ApiClient() as client:
            deployments = await kubernetes_asyncio.client.AppsV1Api(client).list_namespaced_deployment(
                "default"
            )
            return len(deployments.items)

    assert asyncio.run(read()) >= 1
