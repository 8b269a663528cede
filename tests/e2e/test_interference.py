"""Whoever interferes, a route ends fully promoted, or as it was found, or as others wanted it."""

from __future__ import annotations

import pytest

from bench.shared import SharedLab
from inference_rollouts.core.routing.claim import ENDING
from tests.support.e2e.pipeline import DAG, Pipeline

pytestmark = pytest.mark.timeout(900)

CANARY = "llm-pool-version-2"
FOR_EVER = "1h"  # the step bakes as long as the test needs it


def test_a_rollout_survives_the_death_of_scheduler_and_triggerer(lab: SharedLab, pipeline: Pipeline) -> None:
    run = pipeline.trigger(CANARY, [50, 100])
    pipeline.reach(run, "step_1.judge", "deferred", "success")
    components = ("triggerer", "scheduler")
    for name in components:
        pipeline.kill(name)
    for name in components:
        pipeline.airflow.start_again(name)
    assert pipeline.end(run) == "success"
    assert lab.stage.weights() == {"llm-pool": 0, CANARY: 100}
    assert set(lab.stage.route()["metadata"]["annotations"]) == {ENDING}
    told = [event for event in lab.events if event != "WatchTaken"]  # whoever watched meanwhile
    assert told == ["CanaryAttached", "WeightShifted", "WeightShifted", "Promoted"]
    assert f"**llm-pool -> {CANARY}: promoted**" in pipeline.client.run(DAG, run)["note"]
    assert lab.lost == {}


def test_a_run_that_a_person_marks_as_failed_restores_the_route(lab: SharedLab, pipeline: Pipeline) -> None:
    before = lab.stage.route()
    run = pipeline.trigger(CANARY, [10, 100], bake=FOR_EVER)
    pipeline.reach(run, "step_1.judge", "deferred")
    assert lab.stage.weights()[CANARY] == 10
    pipeline.client.set_note(DAG, run, "Stopped: wrong image.")
    pipeline.client.set_run_state(DAG, run, "failed")
    pipeline.reach(run, "report", "failed")
    assert pipeline.end(run) == "failed"
    assert lab.stage.route()["spec"] == before["spec"]
    assert set(lab.stage.route()["metadata"]["annotations"]) == {ENDING}
    assert lab.events[-1] == "RolledBack"
    note = pipeline.client.run(DAG, run)["note"]
    assert note.startswith("Stopped: wrong image.")
    assert f"**llm-pool -> {CANARY}: rolled back**" in note
    assert lab.lost == {}


def test_weights_that_somebody_else_sets_stop_the_rollout_and_stay(
    lab: SharedLab, pipeline: Pipeline
) -> None:
    run = pipeline.trigger(CANARY, [10, 100], bake=FOR_EVER)
    pipeline.reach(run, "step_1.judge", "deferred")
    lab.set_weights({"llm-pool": 42, CANARY: 0}, manager="somebody-else")
    assert pipeline.end(run) == "failed"
    assert lab.stage.weights() == {"llm-pool": 42, CANARY: 0}
    assert "somebody-else" in pipeline.client.logs(DAG, run, "rollback")
    assert pipeline.client.xcom(DAG, run, "report", "outcome") == "astray"
    assert lab.lost == {}
