"""The sources of versions: read when a run begins, strictly, and no further than they must be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference_rollouts.clients import Clients
from inference_rollouts.core.errors import PlanInvalid, SourceRefused
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.versions.choice import Choice
from inference_rollouts.preflight.versions import Asked, Told, latest
from inference_rollouts.rollout.versions import memory_target
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_storage import FakeStorage
from tests.support.include import named_plans
from tests.support.versions import URL, fate, memory, version, versioned_adapter_plan, versioned_plan

NOW = 10_000.0
V1, V2 = version("v1", 1000.0), version("v2", 9000.0)
EVENT = {"from": "event", "asset": "llm-versions"}


def asked(**changes: Any) -> Asked:
    values: dict[str, Any] = {
        "run": "rollout_llm/r1",
        "named": "",
        "kept": "",
        "events": (),
        "cluster_of": lambda plan: None,
    }
    return Asked(**values | changes)


def clients(*versions: Any, cluster: FakeCluster | None = None) -> Clients:
    listed = [each if isinstance(each, dict) else each.to_json() for each in versions]
    storage = FakeStorage({URL: json.dumps({"versions": listed})})
    return fake_clients(cluster or FakeCluster(), storage=storage)


def chosen(plan: Plan, clients: Clients, **changes: Any) -> Choice:
    assert plan.versions
    return latest(plan, plan.versions, clients, asked(**changes), NOW)


def remembering(plan: str, *fates: Any) -> FakeCluster:
    cluster = FakeCluster()
    data = {"memory": memory(*fates).model_dump_json()}
    cluster.put("v1", "ConfigMap", {"metadata": {"name": memory_target(plan).name}, "data": data})
    return cluster


def test_a_file_has_its_newest_version_by_the_time_not_by_the_place() -> None:
    assert chosen(versioned_plan(), clients(V2, V1)).version == V2
    assert chosen(versioned_plan(), clients(V1, V2)).version == V2
    assert chosen(versioned_plan(min_age="1h"), clients(V1, V2)).version == V1


@pytest.mark.parametrize(
    "broken",
    [{"name": "v1; rm"}, {"name": "v1", "digest": "latest"}, {"digest": V1.digest}, {"name": "v1", "x": 1}],
)
def test_a_file_that_holds_anything_else_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(SourceRefused, match="holds no list of versions"):
        chosen(versioned_plan(), clients(broken))


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(PlanInvalid, match="cannot be read"):
        chosen(versioned_plan(), fake_clients(FakeCluster()))


def test_an_event_is_a_version_since_it_came_and_the_newest_counts_whichever_woke_the_run() -> None:
    events = [Told({"name": each.name, "digest": each.digest}, each.since or 0.0) for each in (V2, V1)]
    plan = versioned_plan(source=EVENT)
    assert chosen(plan, clients(), events=events).version == V2
    assert chosen(versioned_plan(source=EVENT, min_age="1h"), clients(), events=events).version == V1
    with pytest.raises(SourceRefused, match="asset llm-versions"):
        chosen(plan, clients(), events=[Told({"tag": "v1"}, 1.0)])


def test_without_a_source_only_a_person_says_what_is_rolled_out() -> None:
    plan = versioned_plan(source={"from": "parameter"}, min_age="1d")
    assert chosen(plan, clients()).version is None
    named = chosen(plan, clients(), named=str(V2)).version
    assert named
    assert named.digest == V2.digest
    with pytest.raises(SourceRefused, match="has no version 'v2'"):
        chosen(plan, clients(), named="v2")


def test_a_name_alone_is_looked_up_in_the_source() -> None:
    assert chosen(versioned_plan(), clients(V1, V2), named="v1").version == V1


def test_an_adapter_needs_no_digest() -> None:
    bare = version("v1", 1000.0, pinned=False)
    assert chosen(versioned_adapter_plan(), clients(bare)).version == bare
    assert chosen(versioned_plan(), clients(bare)).version is None


def test_what_was_rolled_back_is_remembered_by_the_cluster() -> None:
    cluster = remembering("llm", fate("v2"))
    assert chosen(versioned_plan(), clients(V1, V2, cluster=cluster)).version == V1


def test_what_an_earlier_try_has_chosen_stays_chosen_whatever_came_since() -> None:
    """Also where that try rolled it back: clearing a run tries the same again."""
    cluster = remembering("llm", fate("v1", run="rollout_llm/r1"))
    kept = chosen(versioned_plan(min_age="1d"), clients(V2, cluster=cluster), kept=str(V1)).version
    assert kept
    assert kept.identity == V1.identity


def test_only_what_the_earlier_plan_promoted_is_taken(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    named_plans(tmp_path, monkeypatch, staging={})
    promoted = remembering("staging", fate("v1", became=_promoted()))
    plan = versioned_plan(after="staging")
    assert chosen(plan, clients(V1, V2), cluster_of=lambda plan: promoted).version == V1
    assert (
        "was not promoted by plan staging"
        in chosen(plan, clients(V2), cluster_of=lambda plan: promoted).sentence
    )


def test_an_earlier_plan_that_is_not_there_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    named_plans(tmp_path, monkeypatch, llm={})
    with pytest.raises(PlanInvalid, match="There is no plan 'staging'"):
        chosen(versioned_plan(after="staging"), clients(V1))


def _promoted() -> Any:
    from inference_rollouts.core.versions.memory import Became

    return Became.PROMOTED
