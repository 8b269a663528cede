"""A rollout of an adapter: loaded, promoted, rolled back, refused with the words of a server."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from inference_rollouts.clients.include import load_plan
from inference_rollouts.core.errors import ServerRefused
from inference_rollouts.core.routing.claim import Ending
from inference_rollouts.dag import build_dag
from tests.support.airflow import Rollout, Run, run_dag, use
from tests.support.alias import PATH, URLS, alias_cluster, old_alias_cluster
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_pickers import FakePickers
from tests.support.fake_servers import FIRST, FakeServers
from tests.support.include import edit
from tests.support.plans import food_review

STEPS = [f"step_{n}.{part}" for n in (1, 2) for part in ("shift", "judge")]
BEFORE_END = ["preflight", "load_adapter", "warm_up", *STEPS, "promote"]


@pytest.fixture
def cluster() -> FakeCluster:
    return alias_cluster()


@pytest.fixture
def servers() -> FakeServers:
    return FakeServers(FIRST)


@pytest.fixture
def pickers(cluster: FakeCluster) -> FakePickers:
    fake = FakePickers(cluster)
    fake.query("", time.time() - 10)
    return fake


@pytest.fixture
def plan_file(include: Path) -> Path:
    """The plan food-review, cut down to two quick steps."""
    path = include.with_name("food-review.yaml")
    path.write_text(yaml.safe_dump(food_review()))
    edit(
        path,
        steps=[{"weight": 50, "bake": "500ms"}, {"weight": 100, "bake": "250ms"}],
        initial_delay=0,
        analysis={
            "interval": "250ms",
            "scrape_delay": 0,
            "progress_deadline": "10s",
            "on_timeout": "rollback",
            "margin": None,
        },
    )
    include.unlink()
    return path


@pytest.fixture
def rollout(
    plan_file: Path,
    cluster: FakeCluster,
    servers: FakeServers,
    pickers: FakePickers,
    quick_runner: None,
    database: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Run]:
    """Runs the DAG of food-review once."""
    use(fake_clients(cluster, prometheus=pickers, servers=servers), monkeypatch)
    return lambda raising=None: run_dag(build_dag(load_plan(plan_file)), raising=raising)


def test_a_good_adapter_is_promoted_and_on_every_pod(
    rollout: Rollout, cluster: FakeCluster, servers: FakeServers, pickers: FakePickers
) -> None:
    run = rollout()
    assert run.state == "success", run.note
    assert run.ran(*BEFORE_END, "report")
    assert run.states["rollback"] == "skipped"
    assert pickers.weights() == {"food-review-2": 100}
    assert cluster.notes("InferenceModelRewrite", "food-review") == {}
    assert cluster.ending("InferenceModelRewrite", "food-review") is Ending.PROMOTED
    assert all(servers.on(url)["food-review-2"] == PATH for url in URLS)
    assert cluster.events == ["CanaryAttached", "WeightShifted", "WeightShifted", "Promoted"]


def test_a_failing_adapter_is_rolled_back_and_its_targets_are_as_found(
    rollout: Rollout, cluster: FakeCluster, servers: FakeServers, pickers: FakePickers
) -> None:
    before = copy.deepcopy(cluster.objects["InferenceModelRewrite", "food-review"])
    pickers.failing["food-review-2"] = 0.05
    run = rollout()
    assert run.state == "failed"
    assert run.ran("rollback")
    assert run.states["promote"] == "skipped"
    after = cluster.objects["InferenceModelRewrite", "food-review"]
    assert after["spec"] == before["spec"]
    assert cluster.notes("InferenceModelRewrite", "food-review") == {}
    assert all("food-review-2" in servers.on(url) for url in URLS), "evidence, until it is retired"
    assert cluster.events[-2:] == ["CanaryAlarm", "RolledBack"]


class TestOlderClusters:
    """They split an alias by an InferenceModel."""

    @pytest.fixture
    def cluster(self) -> FakeCluster:
        return old_alias_cluster()

    @pytest.mark.parametrize("failing", [0.0, 0.05])
    def test_older_clusters_split_by_inference_model(
        self, rollout: Callable[..., Run], cluster: FakeCluster, pickers: FakePickers, failing: float
    ) -> None:
        before = copy.deepcopy(cluster.objects["InferenceModel", "food-review"]["spec"])
        pickers.failing["food-review-2"] = failing
        run = rollout()
        after = cluster.objects["InferenceModel", "food-review"]
        if failing:
            assert after["spec"] == before
        else:
            assert run.state == "success", run.note
            assert after["spec"]["targetModels"] == [{"name": "food-review-2", "weight": 100}]
        assert cluster.notes("InferenceModel", "food-review") == {}


@pytest.mark.parametrize("task", ["load_adapter", "warm_up", "step_1.judge", "promote"])
def test_whatever_task_raises_the_targets_end_as_they_were_found(
    rollout: Rollout, cluster: FakeCluster, task: str
) -> None:
    before = copy.deepcopy(cluster.objects["InferenceModelRewrite", "food-review"])
    run = rollout(raising=task)
    assert run.states[task] == "failed"
    assert run.state == "failed"
    after = cluster.objects["InferenceModelRewrite", "food-review"]
    assert after["spec"] == before["spec"]
    assert cluster.notes("InferenceModelRewrite", "food-review") == {}


def test_a_pod_that_refuses_ends_it_with_its_words_and_leaves_no_pod_loaded(
    rollout: Rollout, cluster: FakeCluster, servers: FakeServers
) -> None:
    refusal = "LoRA rank 64 is greater than max_lora_rank 16."
    servers.refusing[URLS[1]] = ServerRefused(400, refusal)
    run = rollout()
    assert run.states["load_adapter"] == "failed"
    assert "Pod llm-pool-1 did not load food-review-2" in run.note
    assert refusal in run.note
    assert run.states["rollback"] == "skipped"
    assert not [url for url in URLS if "food-review-2" in servers.on(url)]
    assert not cluster.writes


def test_what_another_run_had_loaded_is_not_unloaded(rollout: Rollout, servers: FakeServers) -> None:
    servers.on(URLS[0])["food-review-2"] = PATH
    servers.refusing[URLS[1]] = ServerRefused(400, "no")
    rollout()
    assert [url for url in URLS if "food-review-2" in servers.on(url)] == URLS[:1]


def test_a_resolver_loads_at_the_first_request(
    rollout: Rollout, plan_file: Path, servers: FakeServers, pickers: FakePickers
) -> None:
    edit(plan_file, load="lazy")
    servers.lazy = True
    assert rollout().state == "success"
    assert pickers.weights() == {"food-review-2": 100}


def test_an_adapter_that_no_pod_answers_for_gets_no_request(
    rollout: Rollout, servers: FakeServers, pickers: FakePickers
) -> None:
    servers.mute.add("food-review-2")
    run = rollout()
    assert run.states["warm_up"] == "failed"
    assert pickers.weights() == {"food-review-1": 1}
    assert set(pickers.requests) == {"food-review-1"}


def test_only_requests_for_the_alias_are_judged(rollout: Rollout, pickers: FakePickers) -> None:
    rollout()
    matchers = 'inference_pool="llm-pool",model_name="food-review"'
    assert all(matchers in promql for promql in pickers.asked if promql)
