"""Since when a pool or an adapter is quiet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.metrics import SERIES, MetricSet, parse_metric_set
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.retirement.idle import (
    Clock,
    Observation,
    activity_query,
    observed_adapter,
    observed_pool,
)

OLD, NEW = "llm-pool", "llm-pool-version-2"


def quiet_after(observations: Sequence[Observation], longest: float = 10.0) -> float | None:
    """The time of the look at which the clock says quiet; None when none does."""
    clock = Clock()
    for observation in observations:
        clock = clock.tick(observation)
        if clock.is_quiet(longest):
            return observation.at
    return None


SAME = {("answered/0", "a"): 5.0}


@pytest.mark.parametrize(
    ("observations", "at"),
    [
        ([Observation(t, "", SAME) for t in (0, 5, 9)], None),
        ([Observation(t, "", SAME) for t in (0, 5, 10)], 10),
        (
            [
                Observation(0, "", SAME),
                Observation(5, "busy"),
                Observation(10, "", SAME),
                Observation(15, "", SAME),
                Observation(20, "", SAME),
            ],
            20,
        ),
        (
            [
                Observation(0, "", SAME),
                Observation(5, "", {("answered/0", "a"): 6.0}),
                Observation(10, "", SAME),
            ],
            None,
        ),
        (
            [
                Observation(0, ""),
                Observation(5, "", SAME),
                Observation(10, "", SAME),
                Observation(14, "", SAME),
            ],
            None,
        ),
        ([Observation(t, "no data") for t in range(0, 100, 5)], None),
        ([Observation(t, "", SAME, {"a": frozenset({1.0 + t / 100})}) for t in (0, 5, 10)], 10),
        ([Observation(t, "", SAME, {"a": frozenset({1.0 if t < 9 else 8.0})}) for t in (0, 5, 10)], None),
    ],
)
def test_only_an_unbroken_silence_of_the_longest_stream_is_quiet(observations: Any, at: int) -> None:
    assert quiet_after(observations) == at


def sample(part: Any, value: Any, pod: str = "a") -> Sample:
    return {SERIES: part, "pod": pod}, float(value)


@pytest.mark.parametrize(
    ("samples", "busy"),
    [
        ([], "Prometheus has no data of a, b"),
        ([sample("inside/0", 0)], "Prometheus has no data of b"),
        ([sample("inside/0", 0), sample("inside/0", 0, "b")], ""),
        ([sample("inside/0", 0), sample("inside/0", 2, "b")], "requests are running or waiting in b"),
        ([sample("inside/0", 0), sample("inside/0", "NaN", "b")], "requests are running or waiting in b"),
        (
            [sample("inside/0", 0), sample("inside/0", 0, "b"), sample("inside/1", 1, "c")],
            "requests are running or waiting in c",
        ),
    ],
)
def test_a_pool_is_quiet_only_if_every_ready_pod_says_so(samples: list[Any], busy: str) -> None:
    assert observed_pool(1.0, samples, "pod", {"a", "b"}).busy == busy


def test_an_adapter_nobody_asks_for_is_quiet_only_while_its_picker_tells() -> None:
    assert "no data" in observed_adapter(1.0, [sample("answered/0", 3)], "pod", OLD).busy
    observation = observed_adapter(1.0, [sample("started", 1), sample("answered/0", 3)], "pod", OLD)
    assert observation == Observation(1.0, "", {("answered/0", "a"): 3.0}, {"a": frozenset({1.0})})


def metric_set(**changes: Any) -> MetricSet:
    rate = {"name": "errors", "kind": "rate", "total": "requests_total", "bad": "errors_total"}
    return parse_metric_set({"name": "own", "errors": "errors", "metrics": [rate]} | changes)


def test_the_query_asks_each_process_and_escapes_what_people_typed() -> None:
    query = activity_query(metric_set(), Arm("inference_pool", 'a"b', "default"), 30)
    assert (
        'max_over_time(vllm:num_requests_running{namespace="default",inference_pool="a\\"b"}[30s])' in query
    )
    assert 'last_over_time(requests_total{namespace="default",inference_pool="a\\"b"}[30s])' in query
    adapter = Arm(
        "target_model_name", "food-1", "default", (("inference_pool", OLD),), (("model_name", "x"),)
    )
    query = activity_query(metric_set(load="g"), adapter, 30)
    assert "inside" not in query
    assert "model_name=" not in query.replace("target_model_name=", "")
    assert 'requests_total{namespace="default",inference_pool="llm-pool",target_model_name="food-1"}' in query


def test_of_a_pod_with_several_servers_each_has_to_say_so() -> None:
    """Requests inside the one that is not scraped would be cut off."""
    ports = (("8000", "first"), ("8001",))

    def inside(instance: str, value: float = 0) -> Sample:
        return {"pod": "a", "instance": instance, "series": "inside/0"}, value

    one, both = [inside("a:first")], [inside("a:first"), inside("10.0.0.1:8001")]
    assert observed_pool(1.0, one, "pod", {"a"}, ports).busy == "Prometheus has no data of a:8001"
    assert observed_pool(1.0, both, "pod", {"a"}, ports).busy == ""
    assert "running" in observed_pool(1.0, [one[0], inside("a:8001", 2)], "pod", {"a"}, ports).busy
