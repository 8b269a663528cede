"""The hooks against real servers: an API server, and HTTP servers that say what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from inference_rollouts.clients.kubernetes import FIELD_MANAGER, ClusterHook
from inference_rollouts.clients.model_server import complete
from inference_rollouts.clients.prometheus import PrometheusHook
from inference_rollouts.core.errors import ClusterRefused, NotFound, PatchRefused, PrometheusUnavailable
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.nodes import provisioner_of
from inference_rollouts.rollout.traffic import Restored, Traffic
from tests.support.lab.apiserver_process import ApiServer
from tests.support.routes import ref

from .test_preflight import RUN, plan

Answer = Callable[[BaseHTTPRequestHandler, bytes], tuple[int, str, bytes]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """An HTTP server on a free port; `answer` gives status, content type and body of each POST."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, kind, text = answer(self, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


# Model servers


def stream(*events):
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return 200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode()


def test_a_streamed_completion_is_put_together_again():
    asked = []

    def answer(request, body):
        asked.append((request.path, json.loads(body)))
        return stream(
            {"model": "m", "choices": [{"text": "Hel"}]},
            {"model": "m", "choices": [{"text": "lo", "finish_reason": "stop"}]},
            {"model": "m", "choices": [], "usage": {"completion_tokens": 2}},
        )

    with serving(answer) as url:
        found = complete(url, "m", "Say hello.", 16, 5)
    assert found.status == 200
    assert found.body == {
        "model": "m",
        "choices": [{"text": "Hello", "finish_reason": "stop"}],
        "usage": {"completion_tokens": 2},
    }
    assert found.ttft > 0
    path, body = asked[0]
    assert path == "/v1/completions"
    assert (body["model"], body["prompt"], body["stream"]) == ("m", "Say hello.", True)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_a_refusal_is_an_answer(status):
    with serving(lambda *_: (status, "application/json", b"{}")) as url:
        found = complete(url, "m", "x", 1, 5)
    assert (found.status, found.body) == (status, None)


def test_nonsense_and_silence_are_answers_too():
    with serving(lambda *_: (200, "text/event-stream", b"data: {oops\n\n")) as url:
        assert complete(url, "m", "x", 1, 5).status == 0
    assert complete(url, "m", "x", 1, 5).status == 0, "nobody listens any more"


# Prometheus


def prometheus(monkeypatch, **connection):
    monkeypatch.setenv("AIRFLOW_CONN_PROM_TEST", json.dumps({"conn_type": "http", **connection}))
    return PrometheusHook("prom_test")


def test_a_query_goes_with_its_time_path_and_token(monkeypatch):
    seen = []

    def answer(request, body):
        seen.append((request.path, request.headers.get("Authorization"), body.decode()))
        data = {"result": [{"metric": {"pod": "a"}, "value": [7, "1"]}]}
        return 200, "application/json", json.dumps({"status": "success", "data": data}).encode()

    with serving(answer) as url:
        hook = prometheus(monkeypatch, host=url, password="secret", extra={"path": "/v1/projects/p"})
        assert hook.query('up{pod="a"}', 7.0) == [{"metric": {"pod": "a"}, "value": [7, "1"]}]
    assert seen == [
        ("/v1/projects/p/api/v1/query", "Bearer secret", "query=up%7Bpod%3D%22a%22%7D&time=7.000")
    ]


@pytest.mark.parametrize(
    "said",
    [
        (400, "application/json", b'{"status": "error", "error": "parse error"}'),
        (503, "text/plain", b"not ready"),
        (200, "application/json", b'{"status": "error"}'),
        (200, "text/html", b"<html>"),
    ],
)
def test_what_is_no_answer_is_unavailable(monkeypatch, said):
    with serving(lambda *_: said) as url, pytest.raises(PrometheusUnavailable):
        prometheus(monkeypatch, host=url).query("up", 1.0)


def test_a_server_that_is_not_there_is_unavailable(monkeypatch):
    with serving(lambda *_: (200, "text/plain", b"")) as url:
        hook = prometheus(monkeypatch, host=url)
    with pytest.raises(PrometheusUnavailable, match="does not answer"):
        hook.query("up", 1.0)


# The cluster


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ApiServer(tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture
def cluster(server, monkeypatch):
    extra = {"kube_config_path": str(server.directory / "kubeconfig")}
    monkeypatch.setenv("AIRFLOW_CONN_KUBE_TEST", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    return ClusterHook("kube_test", "default")


def config_map(name, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def test_what_is_not_there_is_told_apart_from_what_is(cluster):
    assert cluster.find("v1", "ConfigMap", "nothing") is None
    assert cluster.find("no.such.group/v1", "Thing", "nothing") is None
    with pytest.raises(NotFound):
        cluster.get("v1", "ConfigMap", "nothing")
    assert cluster.serves(GATEWAY_API, "HTTPRoute")
    assert not cluster.serves("networking.gke.io/v1", "HealthCheckPolicy")


def test_applying_is_ours_repeatable_and_never_by_force(cluster):
    assert cluster.apply(config_map("dry"), dry_run=True)["metadata"]["name"] == "dry"
    assert cluster.find("v1", "ConfigMap", "dry") is None
    first = cluster.apply(config_map("c", a="1"))
    assert (
        cluster.apply(config_map("c", a="1"))["metadata"]["resourceVersion"]
        == first["metadata"]["resourceVersion"]
    )
    assert [entry["manager"] for entry in first["metadata"]["managedFields"]] == [FIELD_MANAGER]
    cluster.patch("v1", "ConfigMap", "c", [{"op": "replace", "path": "/data/a", "value": "2"}])
    other = dict(config_map("mine", a="1"))
    cluster._call("POST", "/api/v1/namespaces/default/configmaps", {"fieldManager": "somebody"}, other)
    with pytest.raises(PatchRefused, match="somebody"):
        cluster.apply(config_map("mine", a="2"))


def test_applying_takes_back_what_our_own_patches_set_and_nothing_else(cluster):
    """A pool that was scaled down comes up again."""
    cluster.apply(config_map("scaled", a="3"))
    cluster.patch("v1", "ConfigMap", "scaled", [{"op": "replace", "path": "/data/a", "value": "0"}])
    assert cluster.apply(config_map("scaled", a="3"), dry_run=True)["data"] == {"a": "3"}
    assert cluster.get("v1", "ConfigMap", "scaled")["data"] == {"a": "0"}
    assert cluster.apply(config_map("scaled", a="3"))["data"] == {"a": "3"}
    cluster.patch("v1", "ConfigMap", "scaled", [{"op": "replace", "path": "/data/a", "value": "0"}])
    path, merge = "/api/v1/namespaces/default/configmaps/scaled", "application/merge-patch+json"
    cluster._call("PATCH", path, {"fieldManager": "somebody"}, {"data": {"b": "1"}}, merge)
    with pytest.raises(PatchRefused, match="somebody"):
        cluster.apply(config_map("scaled", a="3", b="2"))
    assert cluster.get("v1", "ConfigMap", "scaled")["data"] == {"a": "0", "b": "1"}


def test_a_patch_whose_test_fails_is_refused(cluster):
    cluster.apply(config_map("guarded", a="1"))
    with pytest.raises(PatchRefused):
        cluster.patch("v1", "ConfigMap", "guarded", [{"op": "test", "path": "/data/a", "value": "2"}])


def test_lists_follow_labels(cluster):
    for name, label in (("l1", "x"), ("l2", "y")):
        labelled = config_map(name)
        labelled["metadata"]["labels"] = {"which": label}
        cluster.apply(labelled)
    assert [item["metadata"]["name"] for item in cluster.select("v1", "ConfigMap", {"which": "x"})] == ["l1"]
    names = {item["metadata"]["name"] for item in cluster.select_everywhere("v1", "ConfigMap")}
    assert {"l1", "l2"} <= names


def test_a_wrong_token_is_refused_with_a_sentence(server, monkeypatch, tmp_path):
    config = json.loads((server.directory / "kubeconfig").read_text())
    config["users"][0]["user"]["token"] = "wrong"
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    extra = {"kube_config_path": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_KUBE_TEST", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    with pytest.raises(ClusterRefused, match="does not allow GET"):
        ClusterHook("kube_test", "default").get("v1", "Node", "x")


def test_a_route_goes_through_a_whole_rollout_and_back(cluster):
    """Attach, shift, retreat and restore on an API server that defaults, validates and owns fields."""
    found = {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": "routes-to-llm", "namespace": "default"},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [ref("llm-pool")]}]},
    }
    path = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
    before = cluster._call("POST", path, {"fieldManager": "somebody"}, found)
    target = Target(GATEWAY_API, "HTTPRoute", "routes-to-llm")
    traffic = Traffic(cluster, parse_plan(plan()), RUN, [target])
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    traffic.retreat("slow")
    assert traffic.restore("slow") is Restored.DONE
    [after] = traffic.read()
    assert after["spec"] == before["spec"]
    assert "annotations" not in after["metadata"]
    told = sorted(cluster.select("v1", "Event"), key=lambda event: int(event["metadata"]["resourceVersion"]))
    reasons = [event["reason"] for event in told if event["involvedObject"]["name"] == "routes-to-llm"]
    assert reasons == ["CanaryAttached", "WeightShifted", "CanaryAlarm", "RolledBack"]


# Nodes


def test_a_compute_class_on_a_real_api_server_is_made_kept_and_deleted(cluster):
    machines = [
        {
            "accelerator": "nvidia-h200-141gb",
            "count": 8,
            "machine_type": "a3-ultragpu-8g",
            "reservation": "h200",
            "zones": ["us-central1-a"],
        },
        {"accelerator": "nvidia-l4", "count": 8, "spot": True},
    ]
    nodes = {"provisioner": "compute-class", "machines": machines}
    brings = provisioner_of(cluster, parse_plan(plan(nodes=nodes)), "new", RUN)
    brings.check()
    assert cluster.find("cloud.google.com/v1", "ComputeClass", "new") is None
    brings.ask()
    brings.ask()
    live = cluster.get("cloud.google.com/v1", "ComputeClass", "new")
    assert [rule["gpu"]["type"] for rule in live["spec"]["priorities"]] == ["nvidia-h200-141gb", "nvidia-l4"]
    assert live["metadata"]["generation"] == 1
    brings.take_back()
    assert cluster.find("cloud.google.com/v1", "ComputeClass", "new") is None
    assert brings.look().phase is Phase.FAILED


def test_only_the_object_that_was_read_is_deleted(cluster):
    read = cluster.apply(config_map("mine", a="1"))
    cluster.delete(read)
    cluster.delete(read)
    again = cluster.apply(config_map("mine", a="2"))
    cluster.delete(read)
    assert cluster.get("v1", "ConfigMap", "mine")["metadata"]["uid"] == again["metadata"]["uid"]


def test_what_was_told_about_an_object_is_read_and_nothing_else(cluster):
    one, other = cluster.apply(config_map("one")), cluster.apply(config_map("other"))
    cluster.event(one, "FailedScaleUp", "GCE_STOCKOUT")
    cluster.event(other, "Pulled", "an image")
    assert [event["reason"] for event in cluster.events_about(one)] == ["FailedScaleUp"]
