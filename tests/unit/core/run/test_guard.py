"""What a claim says to those who watch without the plan is what the plan says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.routing.claim import Claim, Guard, Owner, Place
from inference_rollouts.core.run.guard import guard_of, limits_of, read_storm_watch, storm_watch_of
from tests.support.plans import CANARY, STABLE
from tests.support.steps import Step


def kept(guard: Guard) -> Guard:
    """As it comes back from an object."""
    place = Place(path="/spec/rules/0", found=({"name": "a"},))
    claim = Claim(
        token="t", owner=Owner(run="r"), stable="a", canary="b", steps=1, places=(place,), guard=guard
    )
    read = Claim.model_validate_json(claim.to_json()).guard
    assert read
    return read


@pytest.mark.parametrize(
    ("metrics", "errors"),
    [
        (["vllm"], ["errors"]),
        (["endpoint_picker"], ["errors"]),
        (["vllm", "envoy"], ["errors", "envoy_errors"]),
        (["vllm", "gke_load_balancer"], ["errors"]),  # what comes minutes late tells of another step
    ],
)
def test_storms_are_seen_by_the_error_metrics_of_the_plan(metrics: list[str], errors: list[str]) -> None:
    step = Step(analysis={"guardrails": {"storm_share": 0.25}})
    frozen = replace(step.run.frozen, metric_set=load_metric_set(*metrics))
    guard = kept(guard_of(frozen))
    watch = read_storm_watch(guard)
    assert watch == storm_watch_of(frozen)
    assert (guard.stable_pool, guard.canary_pool, guard.pods) == (STABLE, CANARY, 3)
    assert limits_of(guard).storm_share == 0.25
    assert [metric.name for metric in watch.metric_set.judged] == errors


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": None},
        {"metrics": {"name": "newer"}},
        {"canary": {}},
        {"canary": {"label": "pool", "value": "b", "namespace": ["default"]}},
        {"canary": {"label": "pool", "value": "b", "namespace": "default"}},
        {"stable": {"label": "inference_pool", "value": CANARY, "namespace": "default"}},
        {"limits": {"storm_share": 9}},
    ],
)
def test_what_this_version_does_not_understand_is_not_watched_for(changes: dict[str, object]) -> None:
    guard = guard_of(Step().run.frozen).model_copy(update=changes)
    assert read_storm_watch(guard) is None
    assert limits_of(guard).storm_share == 0.5
