"""Laws of server-side apply on a real kind: any applies by any managers, in any order."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.apiserver.changes.fields import fields_of, from_fields_v1
from lab.apiserver.changes.ownership import NOT_OWNED
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.registry.admission import Call
from lab.apiserver.registry.cluster import Cluster, now_text

names = itertools.count()
keys = st.sampled_from(["a", "b"])
values = st.sampled_from(["1", "2"])


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """What somebody may want of a Deployment; always enough of it to be valid."""
    container: dict[str, Any] = {"name": "main", "image": draw(st.sampled_from(["i:1", "i:2"]))}
    for name in draw(st.lists(keys, unique=True)):
        container.setdefault("env", []).append({"name": name, "value": draw(values)})
    for port in draw(st.lists(st.sampled_from([80, 81]), unique=True)):
        container.setdefault("ports", []).append({"containerPort": port})
    if draw(st.booleans()):
        container["resources"] = {"limits": {"cpu": draw(values)}}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}},
    }
    if draw(st.booleans()):
        spec["replicas"] = draw(st.integers(0, 3))
    metadata: dict[str, Any] = {}
    for field in ("labels", "annotations"):
        chosen = draw(st.dictionaries(keys, values, max_size=2))
        if chosen:
            metadata[field] = chosen
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


steps = st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), configs()), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("laws"), None)
    yield running
    running.store.close()


def holds(asked: Any, found: Any) -> bool:
    """Everything asked is found; lists of named items may hold more."""
    if isinstance(asked, dict):
        return isinstance(found, dict) and all(holds(value, found.get(key)) for key, value in asked.items())
    if isinstance(asked, list):
        return all(any(holds(item, other) for other in found or []) for item in asked)
    return bool(asked == found)


def apply(cluster: Cluster, resource: Resource, name: str, who: str, config: dict[str, Any]) -> Any:
    sent = copy.deepcopy(config)
    sent["metadata"]["name"] = name
    call = Call(manager=who, now=now_text(), force=True)
    return cluster.operations.apply(resource, "default", name, sent, call)[0]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_what_was_applied_last_is_there_and_what_nobody_asks_for_is_gone(
    cluster: Cluster, steps: list[tuple[str, dict[str, Any]]]
) -> None:
    resource = cluster.resource("apps", "deployments")
    name = f"d-{next(names)}"
    latest: dict[str, dict[str, Any]] = {}
    for who, config in steps:
        made = apply(cluster, resource, name, who, config)
        latest[who] = config
        assert holds(config, made)
        assert made["metadata"]["name"] == name
        assert made["metadata"]["uid"]
        assert apply(cluster, resource, name, who, config) == made
    owned = {e["manager"]: from_fields_v1(e["fieldsV1"]) for e in made["metadata"]["managedFields"]}
    for who, config in latest.items():
        assert owned.get(who, frozenset()) <= fields_of(resource.schema, config) - NOT_OWNED
    for field in ("labels", "annotations"):
        asked = {key for config in latest.values() for key in config["metadata"].get(field, {})}
        assert set(made["metadata"].get(field, {})) <= asked
    variables = made["spec"]["template"]["spec"]["containers"][0].get("env", [])
    wanted = {
        item["name"]
        for config in latest.values()
        for item in config["spec"]["template"]["spec"]["containers"][0].get("env", [])
    }
    assert {item["name"] for item in variables} <= wanted
