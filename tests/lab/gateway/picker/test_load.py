"""Which pod is the idlest, and what pickers are told."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from lab.gateway.picker.command import pool_of
from lab.gateway.picker.load import Load, choose, parse
from tests.support.lab.gateway_objects import metadata


def test_the_shortest_queue_wins_and_what_was_given_counts() -> None:
    loads = {"a": Load(waiting=2, running=4), "b": Load(running=3), "c": Load(running=3, cache=0.5)}
    assert choose(loads, Random(1)) == "b"
    loads["b"].given = 5
    assert choose(loads, Random(1)) == "c"
    assert choose({}, Random(1)) is None


def test_gauges_are_read_from_a_page_of_metrics() -> None:
    page = """# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 1.0
vllm:num_requests_running{engine="0",model_name="m"} 2
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:other{engine="0"} 9
"""
    assert parse(page) == Load(waiting=4, running=2, cache=0.25)
    assert parse("nonsense") == Load()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--pool-name=p", "--pool-namespace=n"], ("n", "p")),
        (["--pool-name=p"], ("default", "p")),
        (["--model=m"], None),
        (None, None),
    ],
)
def test_picker_pods_are_told_their_pool(arguments: list[str] | None, expected: Any) -> None:
    made = {"metadata": metadata("p"), "spec": {"containers": [{"args": arguments}]}}
    assert pool_of(made) == expected
