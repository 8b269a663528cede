"""What a Cluster promises: the same of the one in memory and of an API server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from inference_rollouts.clients.kubernetes import FIELD_MANAGER, Cluster, KubernetesCluster
from inference_rollouts.core.errors import ClusterUnavailable, NotFound, PatchRefused
from tests.support.fake_cluster import GATEWAY_API, FakeCluster
from tests.support.lab.apiserver_process import MERGE_PATCH, ApiServer

SOMEBODY = "somebody"


@dataclass(frozen=True)
class Stage:
    """A cluster, its namespace, and `write(manager, object)` of somebody else."""

    cluster: Cluster
    namespace: str
    write: Callable[[str, dict[str, Any]], object]

    def config_map(self, name: str, **data: str) -> dict[str, Any]:
        meta = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@pytest.fixture
def fake() -> Stage:
    cluster = FakeCluster(namespace="test")
    return Stage(cluster, "test", cluster.write_as)


@pytest.fixture
def api_server(real: KubernetesCluster, server: ApiServer) -> Stage:
    maps = f"/api/v1/namespaces/{real.namespace}/configmaps"

    def write(manager: str, obj: dict[str, Any]) -> None:
        query, name = f"fieldManager={manager}", obj["metadata"]["name"]
        if server.call("GET", f"{maps}/{name}").code == 404:
            server.ok("POST", f"{maps}?{query}", obj)
        else:
            server.ok("PATCH", f"{maps}/{name}?{query}", obj, MERGE_PATCH)

    return Stage(real, real.namespace, write)


@pytest.fixture(params=["fake", "api_server"])
def stage(request: pytest.FixtureRequest) -> Stage:
    fixture: Stage = request.getfixturevalue(request.param)
    return fixture


def replace(field: str, value: str) -> list[dict[str, Any]]:
    return [{"op": "replace", "path": f"/data/{field}", "value": value}]


def test_what_is_not_there_is_told_apart_from_what_is(stage: Stage) -> None:
    cluster = stage.cluster
    cluster.apply(stage.config_map("there", a="1"))
    assert cluster.get("v1", "ConfigMap", "there")["data"] == {"a": "1"}
    assert cluster.find("v1", "ConfigMap", "nothing") is None
    assert cluster.find("no.such.group/v1", "Thing", "nothing") is None
    with pytest.raises(NotFound):
        cluster.get("v1", "ConfigMap", "nothing")
    with pytest.raises(NotFound):
        cluster.get("v1", "ConfigMap", "there", "another-namespace")
    with pytest.raises(NotFound):
        cluster.select("no.such.group/v1", "Thing")


def test_which_kinds_are_served_is_known(stage: Stage) -> None:
    assert stage.cluster.serves(GATEWAY_API, "HTTPRoute")
    assert not stage.cluster.serves("networking.gke.io/v1", "HealthCheckPolicy")
    assert not stage.cluster.serves("no.such.group/v1", "Thing")


def test_what_is_read_can_be_changed_without_changing_the_cluster(stage: Stage) -> None:
    stage.cluster.apply(stage.config_map("c", a="1"))
    read: Any = stage.cluster.get("v1", "ConfigMap", "c")
    read["data"]["a"] = "2"
    assert stage.cluster.get("v1", "ConfigMap", "c")["data"] == {"a": "1"}


def test_a_dry_run_answers_as_if_and_writes_nothing(stage: Stage) -> None:
    answer = stage.cluster.apply(stage.config_map("dry", a="1"), dry_run=True)
    assert (answer["metadata"]["name"], answer["data"]) == ("dry", {"a": "1"})
    assert stage.cluster.find("v1", "ConfigMap", "dry") is None


def test_applying_is_ours_and_repeatable(stage: Stage) -> None:
    first = stage.cluster.apply(stage.config_map("c", a="1"))
    assert [entry["manager"] for entry in first["metadata"]["managedFields"]] == [FIELD_MANAGER]
    again = stage.cluster.apply(stage.config_map("c", a="1"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    changed = stage.cluster.apply(stage.config_map("c", a="2"))
    assert changed["metadata"]["uid"] == first["metadata"]["uid"]
    assert changed["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


def test_what_is_applied_no_more_goes_and_what_others_set_stays(stage: Stage) -> None:
    stage.cluster.apply(stage.config_map("c", a="1", b="2"))
    stage.write(SOMEBODY, stage.config_map("c", c="3"))
    assert stage.cluster.apply(stage.config_map("c", a="1"))["data"] == {"a": "1", "c": "3"}


def test_fields_of_others_are_never_taken_by_force(stage: Stage) -> None:
    stage.write(SOMEBODY, stage.config_map("theirs", a="1"))
    for dry_run in (True, False):
        with pytest.raises(PatchRefused, match=SOMEBODY):
            stage.cluster.apply(stage.config_map("theirs", a="2"), dry_run=dry_run)
    assert stage.cluster.get("v1", "ConfigMap", "theirs")["data"] == {"a": "1"}
    assert stage.cluster.apply(stage.config_map("theirs", a="1"))["data"] == {"a": "1"}, "they agree"


def test_applying_takes_back_what_our_own_patches_set_and_nothing_else(stage: Stage) -> None:
    """A pool that was scaled down comes up again."""
    cluster = stage.cluster
    cluster.apply(stage.config_map("scaled", a="3"))
    cluster.patch("v1", "ConfigMap", "scaled", replace("a", "0"))
    assert cluster.apply(stage.config_map("scaled", a="3"), dry_run=True)["data"] == {"a": "3"}
    assert cluster.get("v1", "ConfigMap", "scaled")["data"] == {"a": "0"}
    assert cluster.apply(stage.config_map("scaled", a="3"))["data"] == {"a": "3"}
    cluster.patch("v1", "ConfigMap", "scaled", replace("a", "0"))
    stage.write(SOMEBODY, stage.config_map("scaled", b="1"))
    with pytest.raises(PatchRefused, match=SOMEBODY):
        cluster.apply(stage.config_map("scaled", a="3", b="2"))
    assert cluster.get("v1", "ConfigMap", "scaled")["data"] == {"a": "0", "b": "1"}


def test_who_applies_what_was_read_is_refused_when_it_has_changed_since(stage: Stage) -> None:
    read = stage.cluster.apply(stage.config_map("a", x="1"))
    version = {"resourceVersion": read["metadata"]["resourceVersion"]}
    again = stage.config_map("a", x="2")
    changed = stage.cluster.apply(again | {"metadata": again["metadata"] | version})
    assert changed["data"] == {"x": "2"}
    late = stage.config_map("a", x="3")
    with pytest.raises(ClusterUnavailable) as refused:
        stage.cluster.apply(late | {"metadata": late["metadata"] | version})
    assert refused.value.status == 409
    assert stage.cluster.get("v1", "ConfigMap", "a")["data"] == {"x": "2"}


def test_the_time_is_the_servers(stage: Stage) -> None:
    stage.cluster.serves("v1", "ConfigMap")
    assert abs(stage.cluster.time() - time.time()) < 60


def test_a_kind_that_is_not_served_cannot_be_applied(stage: Stage) -> None:
    unknown = stage.config_map("x") | {"apiVersion": "no.such.group/v1", "kind": "Thing"}
    with pytest.raises(NotFound):
        stage.cluster.apply(unknown, dry_run=True)


def test_a_patch_is_written_whole_or_not_at_all(stage: Stage) -> None:
    stage.cluster.apply(stage.config_map("guarded", a="1", b="1"))
    test = {"op": "test", "path": "/data/b", "value": "1"}
    patched = stage.cluster.patch("v1", "ConfigMap", "guarded", [test, *replace("a", "2")])
    assert patched["data"] == {"a": "2", "b": "1"}
    late = {"op": "test", "path": "/data/b", "value": "2"}
    with pytest.raises(PatchRefused):
        stage.cluster.patch("v1", "ConfigMap", "guarded", [*replace("a", "3"), late])
    assert stage.cluster.get("v1", "ConfigMap", "guarded")["data"] == {"a": "2", "b": "1"}


@pytest.mark.parametrize(
    "op",
    [
        {"op": "test", "path": "/data/none", "value": "1"},
        {"op": "remove", "path": "/data/none"},
        {"op": "add", "path": "/none/deep", "value": "1"},
    ],
)
def test_a_patch_of_what_is_not_there_is_refused(stage: Stage, op: dict[str, Any]) -> None:
    stage.cluster.apply(stage.config_map("c", a="1"))
    with pytest.raises(PatchRefused):
        stage.cluster.patch("v1", "ConfigMap", "c", [op])


def test_an_object_that_is_not_there_cannot_be_patched(stage: Stage) -> None:
    with pytest.raises(NotFound):
        stage.cluster.patch("v1", "ConfigMap", "nothing", replace("a", "1"))


def test_a_patch_adds_to_lists_and_takes_away(stage: Stage) -> None:
    refs = [{"name": "gw"}]
    route = {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": {"name": "r"}}
    stage.cluster.apply({**route, "spec": {"parentRefs": refs, "hostnames": ["a.test", "c.test"]}})

    def hostnames(*patch: dict[str, Any]) -> list[str]:
        spec = stage.cluster.patch(GATEWAY_API, "HTTPRoute", "r", patch)["spec"]
        names: list[str] = spec["hostnames"]
        return names

    added = {"op": "add", "path": "/spec/hostnames/1", "value": "b.test"}
    assert hostnames(added) == ["a.test", "b.test", "c.test"]
    last = {"op": "add", "path": "/spec/hostnames/-", "value": "d.test"}
    assert hostnames({"op": "remove", "path": "/spec/hostnames/0"}, last) == ["b.test", "c.test", "d.test"]


def test_annotations_are_no_part_of_the_generation_and_an_empty_map_vanishes(stage: Stage) -> None:
    spec = {"parentRefs": [{"name": "gw"}], "hostnames": ["a.test"]}
    route = {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": {"name": "g"}, "spec": spec}
    first = stage.cluster.apply(route)

    def patched(op: str, path: str, value: Any = None) -> Any:
        return stage.cluster.patch(GATEWAY_API, "HTTPRoute", "g", [{"op": op, "path": path, "value": value}])

    noted = patched("add", "/metadata/annotations", {"a": "1"})
    assert noted["metadata"]["generation"] == first["metadata"]["generation"]
    assert "annotations" not in patched("remove", "/metadata/annotations/a")["metadata"]
    moved = patched("replace", "/spec/hostnames", ["b.test"])
    assert moved["metadata"]["generation"] == first["metadata"]["generation"] + 1


def test_lists_follow_labels(stage: Stage) -> None:
    for name, label in (("l1", "x"), ("l2", "y")):
        labelled = stage.config_map(name)
        labelled["metadata"]["labels"] = {"which": label}
        stage.cluster.apply(labelled)
    chosen = stage.cluster.select("v1", "ConfigMap", {"which": "x"})
    assert [item["metadata"]["name"] for item in chosen] == ["l1"]
    assert [(item["apiVersion"], item["kind"]) for item in chosen] == [("v1", "ConfigMap")]
    assert {item["metadata"]["name"] for item in stage.cluster.select("v1", "ConfigMap")} >= {"l1", "l2"}
    everywhere = {item["metadata"]["name"] for item in stage.cluster.select_everywhere("v1", "ConfigMap")}
    assert {"l1", "l2"} <= everywhere


def test_only_the_object_that_was_read_is_deleted(stage: Stage) -> None:
    cluster = stage.cluster
    read = cluster.apply(stage.config_map("mine", a="1"))
    cluster.delete(read)
    assert cluster.find("v1", "ConfigMap", "mine") is None
    cluster.delete(read)
    again = cluster.apply(stage.config_map("mine", a="2"))
    cluster.delete(read)
    assert cluster.get("v1", "ConfigMap", "mine")["metadata"]["uid"] == again["metadata"]["uid"]


def test_what_was_told_about_an_object_is_read_and_nothing_else(stage: Stage) -> None:
    one, other = (stage.cluster.apply(stage.config_map(name)) for name in ("one", "other"))
    stage.cluster.event(one, "FailedScaleUp", "GCE_STOCKOUT", warning=True)
    stage.cluster.event(other, "Pulled", "an image")
    [told] = stage.cluster.events_about(one)
    assert (told["reason"], told["message"], told["type"]) == ("FailedScaleUp", "GCE_STOCKOUT", "Warning")
    names = [event["involvedObject"]["name"] for event in stage.cluster.select("v1", "Event")]
    assert sorted(names) == ["one", "other"]
