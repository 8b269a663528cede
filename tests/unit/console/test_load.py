"""The load that is drawn is that of this cluster's pods, whoever else writes into the store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference_rollouts.console.load import load_between
from inference_rollouts.core.run.frozen import Frozen
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import run_on

STABLE = "llm-pool"


class Store(FakePrometheus):
    """Pods that are gone exported before `until`."""

    gone: tuple[str, ...] = ()
    until = 0.0

    def _gauges(self, at: float) -> list[dict[str, object]]:
        samples = super()._gauges(at)
        labels = {"inference_pool": STABLE, "namespace": "default"}
        late = [
            {"metric": {"pod": pod, "series": "0"}, "value": [at, "1000"]}
            for pod in self.gone
            if at < self.until
        ]
        return [{**each, "metric": each["metric"] | labels} for each in (*samples, *late)]


def drawn(store: Store, frozen: Frozen, own: list[str] | None) -> list[float | None]:
    load = load_between(store, frozen, 0.0, 100.0, own)
    assert load is not None
    return load["stable"]


@pytest.fixture
def store() -> Store:
    return Store(FakeCluster(), load=12.0)


@pytest.fixture
def frozen(store: Store) -> Frozen:
    return run_on(store.cluster, prometheus=store).frozen


def test_pods_of_another_cluster_are_left_out(store: Store, frozen: Frozen) -> None:
    store.also = "theirs-"
    assert set(drawn(store, frozen, None)) == {24.0}, "nobody knows whose they are"
    assert set(drawn(store, frozen, store.cluster.pods_of(STABLE))) == {12.0}


def test_a_label_tells_them_once_the_pods_are_not_known_any_more(store: Store, frozen: Frozen) -> None:
    store.also, store.home = "theirs-", "eu"
    assert set(drawn(store, replace(frozen, home=(("cluster", "eu"),)), None)) == {12.0}


def test_what_pods_had_that_are_gone_is_drawn(store: Store, frozen: Frozen) -> None:
    store.gone, store.until = (f"{STABLE}-gone",), 50.0
    line = drawn(store, frozen, store.cluster.pods_of(STABLE))
    assert line[0] == 1012.0
    assert line[-1] == 12.0
