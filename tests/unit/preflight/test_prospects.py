"""Whether a rollout will finish in its windows, by the traffic of the same hours a week before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inference_rollouts.clients import Clients
from inference_rollouts.core.judging.power import Traffic
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.preflight.calendar import calendar_of
from inference_rollouts.preflight.prospects import HOUR, WEEK, prospects
from tests.support.calendars import NIGHTS, at, window
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import run_on

NOON, OPENS = at("2026-11-26 12:00"), at("2026-11-26 22:00")
STEPS = [{"weight": 50, "bake": "10m"}, {"weight": 100, "bake": "10m"}]


def planned(**changes: Any) -> tuple[Clients, Frozen, FakePrometheus]:
    """A run that waits for its window, and a store in which nothing was counted yet."""
    run = run_on(FakeCluster(), steps=STEPS, initial_delay=0, **{"windows": [NIGHTS]} | changes)
    frozen = replace(run.frozen, calendar=calendar_of(run.plan))
    store = FakePrometheus(run.clients.cluster)  # type: ignore[arg-type]
    return replace(run.clients, prometheus=store), frozen, store


def said(rate: float, load: float | None = None, **changes: Any) -> str:
    clients, frozen, store = planned(**changes)
    store.rate, store.load = rate, load
    return " ".join(prospects(clients, frozen, NOON))


def test_the_same_hours_a_week_before_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clients, frozen, store = planned()
    asked: list[float] = []
    query = store.query

    def recorded(promql: str, at: float) -> list[dict[str, Any]]:
        asked.append(at)
        return query(promql, at)

    monkeypatch.setattr(store, "query", recorded)
    assert prospects(clients, frozen, NOON)
    assert {each - (OPENS - WEEK) for each in asked if each != NOON} == {-60.0, 0.0, float(HOUR)}


def test_the_traffic_told_is_that_of_requests_and_not_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    clients, frozen, _ = planned()
    usual = {
        metric.name: Traffic(rate=9000.0, shares=(0.01,) * len(metric.thresholds))
        for metric in frozen.metric_set.judged
    }
    usual[frozen.metric_set.errors] = Traffic(rate=20.0, shares=(0.01,))
    monkeypatch.setattr("inference_rollouts.preflight.prospects.traffic_of", lambda *_: usual)
    assert "(20.0 requests/s)" in " ".join(prospects(clients, frozen, NOON))


def test_much_traffic_shows_soon_that_a_good_canary_is_good() -> None:
    text = said(200.0)
    assert "At the traffic of the same hours a week before (200.0 requests/s) it takes 20m" in text
    assert "before its window closes" in text
    assert "In those hours" not in text


def test_little_traffic_takes_longer_than_a_short_window() -> None:
    short: dict[str, Any] = {"windows": [window("22:00", "22:30")], "analysis": {"progress_deadline": "3h"}}
    text = said(1.0, **short)
    assert "after its window closes" in text
    assert "is over at about" in text
    assert "before its window closes" in said(1.0, analysis={"progress_deadline": "3h"}), (
        "a whole night is enough"
    )


def test_a_canary_that_is_never_shown_good_is_said() -> None:
    assert "In those hours: At this traffic a good canary is shown to be good enough" in said(0.05)


def test_a_window_whose_end_sends_it_back_is_too_short_for_so_little_traffic() -> None:
    short: dict[str, Any] = {"windows": [window("22:00", "22:30")], "at_window_end": "rollback"}
    assert "The window closes before step" in said(1.0, **short, analysis={"progress_deadline": "3h"})


def test_pools_that_were_too_small_for_those_hours_are_said() -> None:
    assert "raises would wait for room" not in said(200.0, load=10.0)
    waits = (
        "In those hours raises would wait for room: llm-pool-version-2 has 3 ready pods for 100 % of 100000"
    )
    assert waits in said(200.0, load=100_000.0)


def test_that_others_count_under_the_same_names_is_said() -> None:
    """Which pods of a week before were theirs is not known."""
    clients, frozen, store = planned()
    store.rate = 200.0
    assert "more than the traffic of this cluster" not in " ".join(prospects(clients, frozen, NOON))
    store.also = "theirs-"
    text = " ".join(prospects(clients, frozen, NOON))
    assert "more than the traffic of this cluster" in text
    assert "(pods theirs-llm-pool-0, theirs-" in text


def test_where_nothing_was_counted_nobody_knows() -> None:
    clients, frozen, store = planned()
    store.down = True
    [text] = prospects(clients, frozen, NOON)
    assert "nothing is counted" in text


def test_without_windows_there_is_nothing_to_say() -> None:
    clients, frozen, _ = planned(windows=[])
    assert prospects(clients, frozen, NOON) == []


@pytest.mark.parametrize("load", [None, 100_000.0])
def test_of_a_week_before_this_cluster_s_are_asked_for_where_a_label_tells_them(load: float | None) -> None:
    """Of the same namespace and names; their pods of then nobody knows."""
    cluster = FakeCluster()
    store = FakePrometheus(cluster, home="eu", also="theirs-")
    given: dict[str, Any] = {"initial_delay": 0, "windows": [NIGHTS]}
    run = run_on(cluster, prometheus=store, steps=STEPS, **given)
    assert run.frozen.home == (("cluster", "eu"),)
    frozen = replace(Frozen.from_json(run.frozen.to_json()), calendar=calendar_of(run.plan))
    store.rate, store.load, store.last = 200.0, load, None
    store._past.clear()
    text = " ".join(prospects(run.clients, frozen, NOON))
    assert "(200.0 requests/s)" in text
    assert "more than the traffic of this cluster" not in text
    assert ("for 100 % of 100000 requests" in text) == (load is not None)
