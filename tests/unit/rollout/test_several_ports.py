"""Pools with several ports: a server at each of a pod's is warmed up, proven, given adapters, and counted."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from inference_rollouts.core.errors import ClusterRefused, ServerRefused, WarmUpFailed
from inference_rollouts.core.judging.counters import last_window
from inference_rollouts.core.judging.proof import ENOUGH
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.guard import guard_of, read_storm_watch
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.rollout.adapters import load_everywhere
from inference_rollouts.rollout.observation import exporters_of, snapshot
from inference_rollouts.rollout.pods import ready_servers, servers_of
from inference_rollouts.rollout.run import Run
from tests.support.alias import PATH, alias_cluster
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.fake_servers import FIRST, FakeServers
from tests.support.freezing import freeze
from tests.support.plans import food_review_plan
from tests.support.real_pool import CANARY, MODEL, NAME, SIX_LINES, STABLE, real_pool, servers

NUMBERS = (8000, 8001)
QUICK = {"interval": "50ms", "scrape_delay": 0}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not seen within a second is not seen at all."""
    monkeypatch.setattr("inference_rollouts.rollout.proving.SCRAPED_WITHIN", 1.0)


def give_ports(cluster: FakeCluster, pool: str) -> None:
    ports = [{"number": number} for number in NUMBERS]
    cluster.objects["InferencePool", pool]["spec"]["targetPorts"] = ports


class Stage:
    """A canary like stable, whose pods have two ports, is ready to be warmed up."""

    def __init__(self) -> None:
        self.cluster = real_pool()
        give_ports(self.cluster, STABLE)
        self.servers = servers()
        self.prometheus = FakePrometheus(self.cluster)

    def run(self) -> Run:
        plan = parse_plan({"name": "chat", "analysis": QUICK} | SIX_LINES)
        run = freeze(self.cluster, plan, prometheus=self.prometheus, servers=self.servers)
        for manifest in run.frozen.manifests:
            self.cluster.apply(manifest)
        return run

    def names(self) -> list[str]:
        """Of the canary's servers."""
        return [f"{pod}:{port}" for pod in self.cluster.endpoints_of(CANARY) for port in NUMBERS]


def test_every_server_of_a_pod_is_warmed_up_and_proven() -> None:
    stage = Stage()
    run = stage.run()
    assert sorted(run.kind.warm_up(run)) == sorted(stage.names())
    for url in servers_of(stage.cluster, CANARY).values():
        assert stage.servers.answered[url] >= ENOUGH


def test_a_server_that_is_not_warm_is_named_with_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    run = stage.run()
    wrong = stage.names()[-1]
    url = servers_of(stage.cluster, CANARY)[wrong]
    monkeypatch.setattr(stage.servers, "models", lambda asked: [] if asked == url else [Served(NAME, MODEL)])
    with pytest.raises(WarmUpFailed, match=f"Pod {wrong} "):
        run.kind.warm_up(run)


def test_a_server_that_is_not_scraped_is_named_though_its_pod_is() -> None:
    stage = Stage()
    run = stage.run()
    stage.prometheus.unscraped = {stage.names()[1]}
    with pytest.raises(WarmUpFailed) as caught:
        run.kind.warm_up(run)
    assert f"pod {stage.names()[1]}: scraped, but nothing tells these ports, by the port at the end" in str(
        caught.value
    )


def test_preflight_says_where_the_store_cannot_tell_servers_apart() -> None:
    stage = Stage()
    stage.prometheus.blended = True
    with pytest.raises(ClusterRefused) as caught:
        stage.run()
    assert "what tells the servers of chat-0, chat-1 apart, by the port at the end of" in str(caught.value)


def test_how_a_port_is_called_is_frozen_and_left_on_the_claim() -> None:
    stage = Stage()
    containers = stage.cluster.objects["Deployment", STABLE]["spec"]["template"]["spec"]["containers"]
    containers[1]["ports"] = [{"name": "rank-0", "containerPort": 8000}]
    stage.cluster.put("apps/v1", "Deployment", stage.cluster.objects["Deployment", STABLE])
    frozen = Frozen.from_json(stage.run().frozen.to_json())
    for side in (CANARY, STABLE):
        assert frozen.arm(side).ports == (("8000", "rank-0"), ("8001",))
    watch = read_storm_watch(guard_of(frozen))
    assert watch is not None
    assert asdict(watch.canary) == asdict(frozen.arm(CANARY))


def test_pools_with_one_port_are_as_ever() -> None:
    cluster = FakeCluster()
    assert set(servers_of(cluster, "llm-pool")) == set(cluster.pods_of("llm-pool"))


class TestAdapters:
    def cluster(self) -> FakeCluster:
        cluster = alias_cluster()
        give_ports(cluster, "llm-pool")
        return cluster

    def test_an_adapter_is_loaded_at_every_port_or_at_none(self) -> None:
        cluster, loading = self.cluster(), FakeServers(FIRST)
        urls, plan = servers_of(cluster, "llm-pool"), food_review_plan()
        assert len(urls) == 2 * len(cluster.pods_of("llm-pool"))
        assert load_everywhere(loading, urls, plan) == sorted(urls)
        assert {loading.on(url).get(plan.canary) for url in urls.values()} == {PATH}

        last = list(urls.values())[-1]
        refusing = FakeServers(FIRST, refusing={last: ServerRefused(500, "no room")})
        with pytest.raises(Exception, match="no room"):
            load_everywhere(refusing, urls, plan)
        assert all(plan.canary not in refusing.on(url) for url in urls.values())

    def test_pods_that_come_later_are_given_it_at_every_port(self) -> None:
        cluster = self.cluster()
        found = ready_servers(cluster, "llm-pool")
        assert [each.url for each in found] == list(servers_of(cluster, "llm-pool").values())
        assert len({each.process for each in found}) == len(found)


def test_a_step_is_counted_at_every_port() -> None:
    """Both ports of each pod: half of the requests would be missing otherwise."""
    stage = Stage()
    run = stage.run()
    begin = stage.prometheus.last or 0.0  # preflight's look
    seen = [snapshot(stage.prometheus, run.frozen, begin + 10 * place) for place in range(1, 4)]
    arms = run.frozen.arm(CANARY), run.frozen.arm(STABLE)
    window = last_window(run.frozen.metric_set, *arms, seen, exporters_of(stage.cluster, run.frozen))
    assert window is not None
    assert window.counts["errors"].stable.n == pytest.approx(10 * stage.prometheus.rate, rel=0.001)
