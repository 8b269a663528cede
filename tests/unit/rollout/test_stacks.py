"""Each serving stack is promoted, and rolled back, by a plan that changes one image."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field

import pytest

from inference_rollouts.clients.model_server import HttpModelServers, Prompt
from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.objects.workload_kinds import WORKLOADS, pod_templates
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.warm_up import Answer
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.lab_servers import LabServers
from tests.support.pipeline import roll_out
from tests.support.real_pool import CANARY, NAME, SIX_LINES, STABLE, servers
from tests.support.stacks import STACKS, Change, one_port, stack

OLD, NEW = "vllm/vllm-openai:v0.31.0", SIX_LINES["workload"]["image"]
KEY = "sesame"
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


@pytest.mark.parametrize("worse", [0.0, 0.2])
def test_servers_behind_an_api_key_are_asked_with_it(worse: float, plan: Plan) -> None:
    cluster = stack(one_port)
    before = copy.deepcopy(cluster.route["spec"])
    with LabServers() as lab:
        server = lab.start(STABLE, "--api-key", KEY, names=(NAME, "llama"))
        asked = OneServer(lab.listening(server), HttpModelServers(key=lambda: KEY))
        verdict = roll_out(plan, cluster, FakePrometheus(cluster, failing={CANARY: worse}), asked)
    assert verdict is (Verdict.ROLLBACK if worse else Verdict.ADVANCE)
    assert (cluster.route["spec"] == before) is bool(worse)


def test_without_the_key_nothing_begins(plan: Plan) -> None:
    cluster = stack(one_port)
    with LabServers() as lab:
        server = lab.start(STABLE, "--api-key", KEY, names=(NAME, "llama"))
        asked = OneServer(lab.listening(server), HttpModelServers())
        with pytest.raises(ClusterRefused, match=r"connections\.model_servers"):
            roll_out(plan, cluster, FakePrometheus(cluster), asked)
    assert cluster.weights() == {STABLE: 1}


@dataclass(frozen=True, slots=True)
class OneServer:
    """Every pod is this one server, over HTTP; `answered` counts completions by pod."""

    url: str
    http: HttpModelServers
    answered: Counter[str] = field(default_factory=Counter)

    def models(self, base_url: str) -> list[Served]:
        return self.http.models(self.url)

    def version(self, base_url: str) -> str:
        return self.http.version(self.url)

    def wants_key(self, base_url: str) -> bool:
        return self.http.wants_key(self.url)

    def load_adapter(self, base_url: str, name: str, path: str) -> None:
        self.http.load_adapter(self.url, name, path)

    def unload_adapter(self, base_url: str, name: str) -> None:
        self.http.unload_adapter(self.url, name)

    def complete(self, base_url: str, model: str, prompt: Prompt, max_tokens: int, timeout: float) -> Answer:
        self.answered[base_url] += 1
        return self.http.complete(self.url, model, prompt, max_tokens, timeout)


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
