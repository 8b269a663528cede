"""Each serving stack is promoted, and rolled back, by a plan that changes one image."""

from __future__ import annotations

import copy

import pytest

from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.objects.workload_kinds import WORKLOADS, pod_templates
from inference_rollouts.core.plan.plan import Plan, parse_plan
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.pipeline import roll_out
from tests.support.real_pool import CANARY, SIX_LINES, STABLE, servers
from tests.support.stacks import STACKS, Change, stack

OLD, NEW = "vllm/vllm-openai:v0.31.0", SIX_LINES["workload"]["image"]
QUICK = {"interval": "250ms", "scrape_delay": 0, "margin": None}


@pytest.fixture
def plan() -> Plan:
    steps = [{"weight": 50, "bake": "500ms"}, {"weight": 100, "bake": "250ms"}]
    return parse_plan(
        {"name": "chat"}
        | SIX_LINES
        | {"steps": steps, "initial_delay": 0, "analysis": QUICK, "without_comparison": True}
    )


@pytest.mark.parametrize("change", STACKS, ids=lambda change: change.__name__)
def test_it_is_promoted_with_the_new_image_in_each_server(change: Change, plan: Plan) -> None:
    cluster = stack(change)
    assert roll_out(plan, cluster, FakePrometheus(cluster), servers()) is Verdict.ADVANCE
    assert cluster.weights() == {STABLE: 0, CANARY: 100}
    assert len(cluster.endpoints_of(CANARY)) == len(cluster.endpoints_of(STABLE)) > 0
    before, after = images(cluster, ours=False), images(cluster, ours=True)
    assert set(before) == {OLD}
    assert after == [NEW] * len(before)


@pytest.mark.parametrize("change", STACKS, ids=lambda change: change.__name__)
def test_it_is_rolled_back_and_stable_is_as_it_was(change: Change, plan: Plan) -> None:
    cluster = stack(change)
    before = copy.deepcopy(cluster.objects)
    failing = FakePrometheus(cluster, failing={CANARY: 0.2})
    assert roll_out(plan, cluster, failing, servers()) is Verdict.ROLLBACK
    for key, obj in before.items():
        assert cluster.objects[key].get("spec") == obj.get("spec"), key


def images(cluster: FakeCluster, *, ours: bool) -> list[str]:
    """Those of the servers, of each sort of pod once: stable's, or those that the rollout made."""
    labels = owner_labels("chat").items()
    return [
        container["image"]
        for api, kind in WORKLOADS
        if cluster.serves(api, kind)
        for obj in cluster.select(api, kind)
        if (labels <= obj["metadata"].get("labels", {}).items()) is ours
        for template in pod_templates(obj)
        for container in template["spec"]["containers"]
        if container["name"] == "vllm"
    ]
