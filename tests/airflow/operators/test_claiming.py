"""What a run claimed is its own in a later try: remembered before it claims, brought back by preflight."""

from __future__ import annotations

import copy
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from inference_rollouts.core.errors import ClaimLost, RolloutError, StableUnavailable
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.routing.claim import Ending, read_claim
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.dag import build_dag
from inference_rollouts.operators.base import PLACE, PREFLIGHT, TOKEN
from inference_rollouts.operators.deploy_pool import DeployPool
from inference_rollouts.operators.history import ending
from inference_rollouts.operators.preflight import Preflight
from inference_rollouts.rollout.confirmation import await_confirmation
from tests.support.airflow import Told, context_of, use
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import CANARY, STABLE, llm, llm_plan
from tests.support.steps import Step

DAG = build_dag(llm_plan())
CLAIMING = "deploy_pool"


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """An earlier try of the run that is at its first step."""
    step = Step()
    use(step.run.clients, monkeypatch)
    return step


def kept(step: Step) -> dict[str, Any]:
    return {TOKEN: step.run.frozen.token, PLACE: {"kubernetes": "kubernetes_default", "namespace": "default"}}


def preflight_again(told: Told) -> Frozen:
    task = Preflight(task_id=PREFLIGHT, plan=llm(initial_delay=0))
    return Frozen.from_json(task.execute(context_of(told, DAG, params={})))


def test_a_second_try_of_preflight_brings_back_what_the_first_claimed(step: Step) -> None:
    assert step.cluster.weights() == {STABLE: 50, CANARY: 50}
    for key in [key for key in step.cluster.objects if key[1].startswith(CANARY)]:
        del step.cluster.objects[key]
    for manifest in step.run.frozen.manifests:
        step.cluster.apply(manifest)
    frozen = preflight_again(Told(deploy_pool=kept(step)))
    assert step.cluster.route["spec"]["rules"] == FakeCluster().route["spec"]["rules"]
    assert step.cluster.notes() == {}
    assert step.cluster.ending() is Ending.RESTORED
    assert frozen.token != step.run.frozen.token
    assert frozen.run == "rollout_llm/r1"


def test_it_goes_on_only_when_gateways_have_taken_that(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway sees the restored weights a moment later."""
    patch, seen = step.cluster.patch, []

    def late(*args: Any) -> Any:
        result = patch(*args)
        step.cluster.route["metadata"]["generation"] += 1
        return result

    def catches_up(_: float) -> None:
        seen.append(step.cluster.weights())
        step.cluster.route["metadata"]["generation"] -= 1

    monkeypatch.setattr(step.cluster, "patch", late)
    waiting = partial(await_confirmation, sleep=catches_up)
    monkeypatch.setattr("inference_rollouts.operators.preflight.await_confirmation", waiting)
    for key in [key for key in step.cluster.objects if key[1].startswith(CANARY)]:
        del step.cluster.objects[key]
    for manifest in step.run.frozen.manifests:
        step.cluster.apply(manifest)
    preflight_again(Told(deploy_pool=kept(step)))
    assert seen
    assert set(map(str, seen)) == {str({STABLE: 1})}


def test_it_brings_that_back_also_where_it_then_refuses_to_begin_anew(step: Step) -> None:
    step.prometheus.down = True
    with pytest.raises(RolloutError):
        preflight_again(Told(deploy_pool=kept(step)))
    assert step.cluster.weights() == {STABLE: 1}
    assert step.cluster.ending() is Ending.RESTORED


def test_it_waits_for_a_stable_pool_that_cannot_take_its_traffic(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_rollouts.operators.preflight.REFLEX_DEADLINE", 0.0)
    step.cluster.scale(STABLE, 0)
    with pytest.raises(StableUnavailable):
        preflight_again(Told(deploy_pool=kept(step)))
    assert step.cluster.weights() == {STABLE: 0, CANARY: 100}


@pytest.mark.parametrize("deploy_pool", [{}, {TOKEN: "of-somebody-else"}])
def test_what_another_run_claims_is_not_brought_back(step: Step, deploy_pool: dict[str, str]) -> None:
    before = copy.deepcopy(step.cluster.route)
    with pytest.raises(RolloutError, match="claimed by"):
        preflight_again(Told(deploy_pool=deploy_pool))
    assert step.cluster.route == before


@pytest.mark.parametrize("lost", [False, True])
def test_the_token_is_kept_before_anything_is_claimed(
    step: Step, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    step.run.traffic.way_back.restore("another try", 2000.0)
    told = Told(preflight={"return_value": step.run.frozen.to_json()})
    patch = step.cluster.patch

    def patching(*args: Any) -> Any:
        assert told.pushed == kept(step)
        if lost:
            raise ClaimLost("another one was faster")
        return patch(*args)

    task, context = DeployPool(task_id=CLAIMING), context_of(told, DAG)
    with suppress(TaskDeferred):
        task.execute(context)
    step.run.traffic.way_back.restore("yet another try", 2001.0)
    monkeypatch.setattr(step.cluster, "patch", patching)
    decided = {"phase": "ready", "message": ""}
    if lost:
        with pytest.raises(ClaimLost):
            task.workloads_decided(context, decided)
    else:
        with suppress(TaskDeferred):
            task.workloads_decided(context, decided)
        claim = read_claim(step.cluster.route)
        assert claim
        assert claim.token == told.pushed[TOKEN]


class TestOutcome:
    """It comes from what the run moves, as it is now, whatever the tasks say."""

    def outcome(self, step: Step, **states: str) -> Outcome:
        told = Told()
        told.states = states
        outcome, self.late = ending(context_of(told, DAG), step.run)
        return outcome

    def test_what_is_still_claimed_is_astray(self, step: Step) -> None:
        assert self.outcome(step, promote="failed", rollback="failed") is Outcome.ASTRAY
        step.run.traffic.way_back.retreat("alarm")
        assert self.outcome(step, promote="failed", rollback="failed") is Outcome.ASTRAY

    def test_what_somebody_restored_is_rolled_back(self, step: Step) -> None:
        step.run.traffic.way_back.restore("by hand", 2000.0)
        assert self.outcome(step, promote="failed", rollback="failed") is Outcome.ROLLED_BACK

    def test_what_a_gateway_has_not_taken_is_not_yet_confirmed(self, step: Step) -> None:
        step.run.traffic.way_back.restore("an alarm", 2000.0)
        step.cluster.route["metadata"]["generation"] += 1
        assert self.outcome(step) is Outcome.UNCONFIRMED
        assert "has not seen generation" in self.late

    def test_what_was_promoted_is_promoted(self, step: Step) -> None:
        traffic, last = step.run.traffic, step.run.plan.all_steps[1]
        traffic.permit(1, 1001.0)
        traffic.shift(2, last, 1002.0)
        traffic.permit(2, 1003.0)
        traffic.promote(1004.0)
        assert self.outcome(step, promote="failed", rollback="failed") is Outcome.PROMOTED

    @pytest.mark.parametrize(
        ("state", "outcome"), [("success", Outcome.LET_GO), ("failed", Outcome.NOT_STARTED)]
    )
    def test_without_a_trace_it_depends_on_whether_this_try_had_claimed(
        self, step: Step, state: str, outcome: Outcome
    ) -> None:
        step.cluster.route["metadata"].pop("annotations")
        assert self.outcome(step, deploy_pool=state) is outcome
