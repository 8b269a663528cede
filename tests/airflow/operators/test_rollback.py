"""The rollback task waits for what may pass, puts back what is claimed, completes what was decided."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors

from inference_rollouts.core.errors import ClaimLost, ClusterUnavailable, Forbidden, PlanInvalid
from inference_rollouts.core.plan.files import Refused
from inference_rollouts.core.routing.claim import Ending
from inference_rollouts.core.run.manifests import digest
from inference_rollouts.dag import build_dag, build_invalid_dag
from inference_rollouts.operators.base import PLACE, TOKEN
from inference_rollouts.operators.traffic import Rollback
from inference_rollouts.rollout.retrying import without_end
from tests.support.airflow import Told, context_of, use
from tests.support.plans import STABLE, llm_plan
from tests.support.steps import Step

DAG = build_dag(llm_plan())


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """A rollout at 50 % that nobody waits for."""
    step = Step()
    use(step.run.clients, monkeypatch)
    at_once = partial(without_end, sleep=lambda _: None)
    monkeypatch.setattr("inference_rollouts.operators.traffic.without_end", at_once)
    return step


def rollback(step: Step) -> str:
    told = Told(preflight={"return_value": step.run.frozen.to_json()})
    task = Rollback(task_id="rollback")
    return str(task.execute(context_of(told, DAG, outlet_events=OutletEventAccessors())))


@pytest.mark.parametrize("status", [0, 401, 403, 404, 409, 410, 429, 500, 503])
@pytest.mark.parametrize("verb", ["get", "patch", "select"])
def test_whatever_the_api_says_for_a_while_all_goes_back(
    step: Step, monkeypatch: pytest.MonkeyPatch, verb: str, status: int
) -> None:
    act, left = getattr(step.cluster, verb), [status] * 7

    def refusing(*args: Any) -> Any:
        if left:
            error = Forbidden if status == 403 else ClusterUnavailable
            raise error("GET", "/apis/x", left.pop(), "not now")
        return act(*args)

    monkeypatch.setattr(step.cluster, verb, refusing)
    assert rollback(step) == "done"
    assert step.cluster.weights() == {STABLE: 1}
    assert step.cluster.ending() is Ending.RESTORED
    assert not left


class TestInvalidPlan:
    """The plan of a run in flight has become invalid, or what preflight froze is gone."""

    DAG = build_invalid_dag(Refused("rollout_llm", "llm.yaml: steps: they must end at 100.", "llm"))

    def rollback(self, told: Told) -> str:
        context = context_of(told, self.DAG, outlet_events=OutletEventAccessors())
        return str(Rollback(task_id="rollback").execute(context))

    def test_its_dag_has_the_tasks_through_which_a_run_in_flight_ends(self) -> None:
        assert list(self.DAG.task_dict) == ["preflight", "begin", "rollback", "end_preview", "report"]
        assert self.DAG.task_dict["preflight"].is_setup
        for task in ("rollback", "end_preview", "report"):
            assert self.DAG.task_dict[task].is_teardown

    def test_what_is_in_flight_goes_back_and_says_why(self, step: Step) -> None:
        told = Told(preflight={"return_value": step.run.frozen.to_json()})
        assert self.rollback(told) == "done"
        assert step.cluster.weights() == {STABLE: 1}
        assert "became invalid while it ran: llm.yaml: steps" in step.cluster.told[-1]["message"]

    def test_mending_the_file_moves_nothing_forward(self, step: Step) -> None:
        """The tasks that were removed come back, and are tried again."""
        self.rollback(Told(preflight={"return_value": step.run.frozen.to_json()}))
        traffic = step.run.traffic
        with pytest.raises(ClaimLost, match="restored: the plan became invalid"):
            traffic.permit(1, 2000.0)
        with pytest.raises(ClaimLost):
            traffic.shift(2, step.run.plan.all_steps[1], 2000.0)
        with pytest.raises(ClaimLost):
            step.observer().observe(step.since + 1)

    @pytest.mark.parametrize(
        "frozen",
        [
            {},
            {"return_value": {"run": "changed by hand"}},
            {"return_value": {"run": "of another version", "digest": digest({"run": "of another version"})}},
        ],
    )
    def test_without_what_preflight_froze_the_claims_are_enough(
        self, step: Step, frozen: dict[str, Any]
    ) -> None:
        place = {"kubernetes": "kubernetes_default", "namespace": "default"}
        claiming = {TOKEN: step.run.frozen.token, PLACE: place}
        assert self.rollback(Told(preflight=frozen, deploy_pool=claiming)) == "done"
        assert step.cluster.weights() == {STABLE: 1}
        with pytest.raises(PlanInvalid):
            self.rollback(Told(preflight=frozen))


def test_its_log_begins_with_why_by_whom_and_where_the_traffic_is(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = SimpleNamespace(warning=lambda form, *args: said.append(form % args), info=lambda *_: None)
    monkeypatch.setattr(Rollback, "log", log)
    rollback(step)
    assert next(line for line in said if "Task Runner" not in line) == (
        "50 % (step 1 of 2) - rolled back by whoever stopped the run, see Airflow's audit log: "
        "the run was stopped before it was decided"
    )


class TestRefused:
    """Preflight decided nothing in this try of the run."""

    def rollback(self, **tasks: dict[str, Any]) -> str:
        told = Told(**tasks)
        told.states = {"preflight": "failed"}
        context = context_of(told, DAG, outlet_events=OutletEventAccessors())
        return str(Rollback(task_id="rollback").execute(context))

    def test_nothing_was_claimed_and_nothing_is_restored(self, step: Step) -> None:
        with pytest.raises(AirflowSkipException, match="decided nothing"):
            self.rollback()
        assert step.cluster.weights()[STABLE] == 50

    def test_what_an_earlier_try_claimed_goes_back(self, step: Step) -> None:
        place = {"kubernetes": "kubernetes_default", "namespace": "default"}
        claiming = {TOKEN: step.run.frozen.token, PLACE: place}
        assert self.rollback(deploy_pool=claiming) == "done"
        assert step.cluster.weights() == {STABLE: 1}


def test_it_may_be_cleared_at_any_time(step: Step) -> None:
    assert [rollback(step), rollback(step)] == ["done", "done"]


def test_where_nothing_is_claimed_it_skips_itself(step: Step) -> None:
    step.cluster.route["metadata"]["annotations"].clear()
    with pytest.raises(AirflowSkipException, match="claims nothing"):
        rollback(step)
