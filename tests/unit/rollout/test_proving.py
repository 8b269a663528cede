"""Before any weight moves it is proven that the judge sees the canary, beside the warm-up's own requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.judging.proof import ENOUGH
from inference_rollouts.rollout.run import Run
from tests.support.alias import alias_cluster, with_picker
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_pickers import FakePickers
from tests.support.fake_prometheus import FakePrometheus
from tests.support.fake_servers import FIRST, FakeServers
from tests.support.freezing import freeze, run_on
from tests.support.plans import CANARY, food_review_plan, llm
from tests.support.stopwatch import ends_within

PODS = [f"{CANARY}-{number}" for number in range(llm()["workload"]["replicas"])]
QUICK = {"interval": "50ms", "scrape_delay": 0}
STEADY = 5  # answers by which a pod is warm
GOLDEN = len(llm()["warm_up"]["golden"])


WITHIN = "inference_rollouts.rollout.proving.SCRAPED_WITHIN"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is to be seen is waited for, however slow the machine."""
    monkeypatch.setattr(WITHIN, 60.0)


class Stage:
    """A canary that is ready to be warmed up, and the store that scrapes it."""

    def __init__(self, **changes: Any) -> None:
        self.cluster = FakeCluster()
        self.servers = FakeServers()
        self.prometheus = FakePrometheus(self.cluster)
        given: dict[str, Any] = {"prometheus": self.prometheus, "servers": self.servers}
        self.run: Run = run_on(self.cluster, **given, analysis=QUICK, **changes)
        for manifest in self.run.frozen.manifests:
            self.cluster.apply(manifest)

    def warm_up(self) -> dict[str, float]:
        return dict(self.run.kind.warm_up(self.run))

    def fails(self, within: float = 1.0) -> str:
        """Why the warm-up fails, where who is not seen by then is not seen at all; and nothing has moved."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(WITHIN, within)
            with ends_within(20), pytest.raises(WarmUpFailed) as caught:
                self.warm_up()
        sentence = str(caught.value)
        assert sentence.endswith(f"; no traffic was moved to {CANARY}.")
        assert "\n" not in sentence
        return sentence

    def asked(self) -> list[int]:
        """How many requests each of the canary's pods has answered."""
        return [self.servers.answered[f"http://{self.cluster.address(pod)}:8000"] for pod in PODS]


def test_a_canary_whose_requests_are_counted_is_warm() -> None:
    stage = Stage()
    assert set(stage.warm_up()) == set(PODS)
    assert all(n >= STEADY + ENOUGH for n in stage.asked()), (
        "they were asked again when they could be counted"
    )


def test_pods_that_are_not_scraped_are_named_with_what_to_scrape() -> None:
    stage = Stage()
    stage.prometheus.unscraped = set(PODS[1:])
    assert stage.fails() == (
        f"The judge would not see {CANARY}: pods {PODS[1]}, {PODS[2]}: no series with "
        f"inference_pool={CANARY}, namespace=default and their names as pod. Scrape the pods of {CANARY} "
        f"with the labels inference_pool={CANARY} and namespace=default (docs/operations.md); "
        f"no traffic was moved to {CANARY}."
    )


def test_pods_that_are_scraped_without_their_label_are_told_apart() -> None:
    stage = Stage()
    stage.prometheus.unlabelled = {PODS[0]}
    assert f"pod {PODS[0]}: scraped without inference_pool={CANARY}." in stage.fails()


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("errors", "HTTP 5xx: llm-pool-version-2 exports no http_requests_total{"),
        ("ttft", "time to first token"),
    ],
)
def test_a_metric_that_the_new_servers_lack_is_named(metric: str, words: str) -> None:
    stage = Stage()
    stage.prometheus.hidden[CANARY] = {metric}
    sentence = stage.fails()
    assert f"pods {', '.join(PODS)}: " in sentence
    assert words in sentence


def test_a_store_that_counts_less_than_was_answered_proves_nothing() -> None:
    """One of several processes of each server is scraped."""

    class Half(dict[str, int]):
        def get(self, url: str, default: Any = None) -> Any:
            return stage.servers.answered[url] // 2

    stage = Stage(warm_up={"steady": 20})
    stage.prometheus.answered = Half()
    assert "HTTP 5xx counts " in stage.fails()


def test_a_store_that_answers_nothing_any_more_proves_nothing() -> None:
    stage = Stage()
    stage.prometheus.down = True
    assert f"Whether the judge would see {CANARY} is not known: Prometheus at " in stage.fails()


def test_a_store_that_is_away_for_a_while_is_waited_for() -> None:
    stage = Stage()
    looks: list[float] = []
    query = stage.prometheus.query

    def stumbling(promql: str, at: float) -> list[dict[str, Any]]:
        looks.append(at)
        stage.prometheus.down = len(looks) < 6
        return query(promql, at)

    stage.prometheus.query = stumbling  # type: ignore[method-assign]
    assert set(stage.warm_up()) == set(PODS)


def test_a_pod_whose_first_scrape_comes_late_is_asked_again() -> None:
    stage = Stage()
    stage.prometheus.unscraped = set(PODS)
    seen: list[str] = []

    def after_a_while(verb: str) -> None:
        seen.append(verb)

    query = stage.prometheus.query

    def late(promql: str, at: float) -> list[dict[str, Any]]:
        if seen.count("complete") >= STEADY * len(PODS):
            stage.prometheus.unscraped.clear()
        return query(promql, at)

    stage.servers.heard, stage.prometheus.query = after_a_while, late  # type: ignore[method-assign]
    assert set(stage.warm_up()) == set(PODS)
    assert stage.asked() == [STEADY + GOLDEN + ENOUGH] * len(PODS)


def test_the_wait_ends_with_the_warm_ups_own_deadline() -> None:
    stage = Stage(deadlines={"warm_up": 1.0})
    stage.prometheus.unscraped = set(PODS)
    assert "The judge would not see" in stage.fails(within=3600.0)


# Those who see no direct requests


def test_the_new_pools_own_picker_must_be_scraped_and_need_not_have_counted() -> None:
    stage = Stage(metrics=["vllm", "endpoint_picker"])
    assert set(stage.warm_up()) == set(PODS)
    stage.prometheus.unscraped = {f"{CANARY}-epp-0"}
    assert (
        f"pod {CANARY}-epp-0: no series with inference_pool={CANARY}, namespace=default and their names as "
        f"pod. Scrape the endpoint pickers behind the pods of {CANARY}"
    ) in stage.fails()


def test_of_gateways_nothing_is_asked() -> None:
    stage = Stage(metrics=["vllm", "envoy"])
    asked: list[str] = []
    query = stage.prometheus.query

    def hearing(promql: str, at: float) -> list[dict[str, Any]]:
        asked.append(promql)
        return query(promql, at)

    stage.prometheus.query = hearing  # type: ignore[method-assign]
    stage.warm_up()
    assert asked
    assert not any("envoy" in promql for promql in asked)


def adapters(*pickers: str) -> Callable[[], dict[str, float]]:
    """The warm-up of an adapter in a pool with these pods as its picker, of which one is scraped."""
    cluster = with_picker(alias_cluster(), *pickers)
    store = FakePickers(cluster)
    store.query("", time.time() - 10)
    plan = food_review_plan(analysis=QUICK)
    run = freeze(cluster, plan, prometheus=store, servers=FakeServers(FIRST))
    return lambda: dict(run.kind.warm_up(run))


def test_of_an_adapter_the_picker_must_be_scraped() -> None:
    assert len(adapters()()) == 3


def test_an_adapters_picker_that_is_not_scraped_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WITHIN, 1.0)
    warm_up = adapters("llm-pool-epp-0", "llm-pool-epp-1")
    with pytest.raises(WarmUpFailed, match="pod llm-pool-epp-1: no series with inference_pool=llm-pool"):
        warm_up()
