"""A canary is tried in a live lab: if all its answers are 500, no client loses a request."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from bench.shared import SharedLab
from bench.stage import Stage, example, judgement, ready, until
from inference_rollouts.operators.preview import EndPreview
from inference_rollouts.rollout.run import Run
from inference_rollouts.triggers.judge import JudgeTrigger

pytestmark = pytest.mark.timeout(600)

TRIED = {"preview": {"header": "x-preview", "value": "canary"}, "mirror": {"percent": 25, "bake": "6s"}}


@dataclass(frozen=True, slots=True)
class Trial:
    """A run with a preview and a mirror, whose canary's pods are ready."""

    lab: SharedLab
    run: Run

    @property
    def stage(self) -> Stage:
        return self.lab.stage

    def attach(self) -> None:
        """As the task deploy_pool does, once the pods are ready."""
        self.run.traffic.attach()
        for preview in self.run.frozen.previews:
            self.stage.cluster.apply(preview)
        until(lambda: ready(self.run, "attachment"), "the gateway to accept the canary")

    def end(self, why: str) -> None:
        """As the teardowns of a rollout do."""
        self.run.traffic.way_back.restore(why, time.time())
        frozen = self.run.frozen.to_json()
        ti = SimpleNamespace(
            xcom_pull=lambda **_: frozen, xcom_push=lambda **_: None, get_task_states=lambda **_: {}
        )
        context = {"ti": ti, "dag_run": SimpleNamespace(dag_id="tests", run_id="trial")}
        for _ in range(2):  # a teardown may be tried again
            inspect.unwrap(EndPreview.execute)(EndPreview(task_id="end_preview"), context)


@pytest.fixture
def trial(shared_lab: SharedLab, canary: Run) -> Trial:
    plan = example("llm", **TRIED, analysis={"margin": None})
    assert plan.canary == canary.plan.canary
    return Trial(shared_lab, shared_lab.stage.freeze(plan, "tests/trial"))


def test_the_preview_s_header_leads_to_the_canary_and_to_nothing_else(trial: Trial) -> None:
    stage = trial.stage
    stage.fault(trial.run.plan.canary, http_500=1.0)
    spec = stage.route()["spec"]
    assert stage.ask(**{"x-preview": "canary"}) == 200, "there is no preview yet"
    trial.attach()
    assert Counter(stage.ask(**{"x-preview": "canary"}) for _ in range(30)) == {500: 30}
    assert Counter(stage.ask() for _ in range(30)) == {200: 30}
    assert Counter(stage.ask(**{"x-preview": "other"}) for _ in range(10)) == {200: 10}
    trial.end("the trial is over")
    until(lambda: stage.ask(**{"x-preview": "canary"}) == 200, "the preview to end")
    assert stage.route()["spec"] == spec
    assert trial.lab.lost == {}


@pytest.mark.parametrize(("failing", "verdict"), [(0.4, "rollback"), (0.0, "advance")])
def test_copies_show_what_a_canary_is_worth_before_a_client_sees_it(
    trial: Trial, failing: float, verdict: str
) -> None:
    stage, run = trial.stage, trial.run
    stage.fault(run.plan.canary, http_500=failing)
    spec = stage.route()["spec"]
    trial.attach()
    planned, since = run.plan.all_steps[0], time.time()
    run.traffic.permit(0, since)
    run.traffic.shift(1, planned, since)
    judged = asyncio.run(judgement(JudgeTrigger(frozen=run.frozen.to_json(), step=1, since=since)))
    assert judged["verdict"] == verdict, judged["reason"]
    canary, stable = judged["canary"], judged["stable"]
    assert canary["errors"] == pytest.approx(failing, abs=failing / 2)
    assert stable["errors"] == 0.0
    assert 0.1 < canary["requests"] / (canary["requests"] + stable["requests"]) < 0.3
    rule = stage.route()["spec"]["rules"][0]
    assert ("filters" in rule) is (verdict == "advance"), "on an alarm the trigger itself ends the mirror"
    trial.end(judged["reason"])
    assert stage.route()["spec"] == spec
    assert trial.lab.lost == {}
