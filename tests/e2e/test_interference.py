"""Whoever interferes, a route ends fully promoted, or as it was found, or as others wanted it.

A real Airflow, Envoy and Prometheus on one stage; each test leaves a route that carries traffic.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .stage import DAG, ROUTE, Stage, until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


def test_a_rollout_survives_the_death_of_scheduler_and_triggerer(stage: Stage) -> None:
    run = stage.trigger("llm-pool", "llm-pool-version-2", [50, 100])
    stage.reach(run, "step_1.judge", "deferred")
    for again in [stage.kill(name) for name in ("triggerer", "scheduler")]:
        again()
    assert stage.client.wait(DAG, run, 240) == "success"
    assert stage.weights() == {"llm-pool": 0, "llm-pool-version-2": 100}
    assert "annotations" not in stage.route()["metadata"]
    assert stage.events() == ["CanaryAttached", "WeightShifted", "WeightShifted", "Promoted"]
    assert "## llm-pool -> llm-pool-version-2: promoted" in stage.client.run(DAG, run)["note"]
    assert stage.failures() == {}


def test_a_run_that_a_person_marks_as_failed_restores_the_route(stage: Stage) -> None:
    before = stage.route()
    stable = max(stage.weights(), key=stage.weights().__getitem__)
    run = stage.trigger(stable, "llm-pool-version-3", [10, 100])
    stage.reach(run, "step_1.judge", "deferred")
    until(lambda: stage.weights().get("llm-pool-version-3") == 10, "the first shift")
    stage.client.set_note(DAG, run, "Stopped: wrong image.")
    stage.client.set_run_state(DAG, run, "failed")
    stage.reach(run, "report", "failed")
    assert stage.client.wait(DAG, run) == "failed"
    assert stage.route()["spec"] == before["spec"]
    assert "annotations" not in stage.route()["metadata"]
    assert stage.events()[-1] == "RolledBack"
    note = stage.client.run(DAG, run)["note"]
    assert note.startswith("Stopped: wrong image.")
    assert f"## {stable} -> llm-pool-version-3: rolled back" in note
    assert stage.failures() == {}


def test_weights_that_somebody_else_sets_stop_the_rollout_and_stay(stage: Stage) -> None:
    stable = max(stage.weights(), key=stage.weights().__getitem__)
    run = stage.trigger(stable, "llm-pool-version-4", [10, 100])
    stage.reach(run, "step_1.judge", "deferred")
    rules = stage.route()["spec"]["rules"]
    for ref in rules[0]["backendRefs"]:
        ref["weight"] = int(ref["name"] == stable) * 42
    stage.kube("patch", ROUTE, {"spec": {"rules": rules}}, field_manager="somebody-else")
    assert stage.client.wait(DAG, run) == "failed"
    assert stage.weights()[stable] == 42
    assert stage.weights()["llm-pool-version-4"] == 0
    assert "somebody-else" in stage.client.logs(DAG, run, "rollback")
    assert stage.client.xcom(DAG, run, "report", "outcome") == "astray"
    assert stage.failures() == {}
